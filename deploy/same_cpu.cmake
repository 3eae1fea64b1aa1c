# Run by every build with HWM_NATIVE=on: is this still the CPU that the tree was configured for?
execute_process(COMMAND ${COMPILER} -march=native -Q --help=target OUTPUT_VARIABLE cpu COMMAND_ERROR_IS_FATAL ANY)
string(SHA256 now "${cpu}")
if(NOT now STREQUAL HWM_CPU)
  message(FATAL_ERROR "This tree was configured for another CPU: run cmake in it again (deploy/train.sh does), or use HWM_NATIVE=off.")
endif()
