// What every cmocka program includes, in the order that cmocka asks for.
#ifndef HWM_TESTS_BASE_TEST_H
#define HWM_TESTS_BASE_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
