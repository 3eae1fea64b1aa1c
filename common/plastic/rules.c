// The table of rules: one row each, in the order of hwm_rule_kind.
#include "plastic/impl.h"

//   abcd     dW = eta (A pre post + B pre + C post + D) + E
//            Najarro & Risi 2020, arXiv:2007.02686
//   mod3     dW = M eta (A pre' post' + B pre' + C post' + D) + M E, primes = previous update
//   shifted  dW = eta (A pre post' + B pre' + C post' + D) + E
//   trace    e <- lambda e + eta (A pre post + B pre + C post + D) + E;  dW = M e
//   network  dW = eta v . tanh(U [pre, post, W, reward mean, 1])
//   hebb     dW = eta (alpha pre post + beta noise), constants and noise drawn per episode
//   oja      dW = eta (pre post - post^2 W)                                        Oja 1982
//   bcm      dW = eta pre post (post - theta), theta <- theta + rate (post^2 - theta)
//            Bienenstock, Cooper & Munro 1982
//   miconi   acts with W + alpha Hebb;  Hebb <- (1 - eta) Hebb + M eta pre post, Hebb_0 = 0
//            Miconi, Stanley & Clune 2018, arXiv:1804.02464; with M: Miconi et al. 2019
// With oja > 0 the learned ones also multiply W (Hebb) by max(1/2, 1 - oja post^2) before dW is
// added. Any of them changes the connections of layers and the recurrent ones alike.
// clang-format off
const hwm_rule_row hwm_rule_rows[HWM_RULE_KINDS] = {
    // name      planes old    trace  network mixed naive            modulator             action diff.  invertible
    {"abcd",     true,  false, false, false,  false, HWM_NAIVE_NONE, HWM_MODULATOR_NONE,   false, true,  true},
    {"mod3",     true,  true,  false, false,  false, HWM_NAIVE_NONE, HWM_MODULATOR_LINEAR, true,  true,  true},
    {"shifted",  true,  true,  false, false,  false, HWM_NAIVE_NONE, HWM_MODULATOR_NONE,   false, true,  true},
    {"trace",    true,  false, true,  false,  false, HWM_NAIVE_NONE, HWM_MODULATOR_LINEAR, false, true,  false},
    {"network",  false, false, false, true,   false, HWM_NAIVE_NONE, HWM_MODULATOR_NONE,   false, true,  false},
    {"hebb",     false, false, false, false,  false, HWM_NAIVE_HEBB, HWM_MODULATOR_NONE,   false, false, false},
    {"oja",      false, false, false, false,  false, HWM_NAIVE_OJA, HWM_MODULATOR_NONE,   false, false, false},
    {"bcm",      false, false, false, false,  false, HWM_NAIVE_BCM, HWM_MODULATOR_NONE,   false, false, false},
    {"miconi",   true,  false, false, false,  true,  HWM_NAIVE_NONE, HWM_MODULATOR_REWARD, false, true,  false},
};
// clang-format on
