// SPDX-License-Identifier: Apache-2.0
#include "score.h"

namespace abis {

float score(const Evidence& e) {
    return e.balance;
}

}  // namespace abis
