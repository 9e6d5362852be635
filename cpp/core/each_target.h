// SPDX-License-Identifier: Apache-2.0
// Compiles the header that the macro ABIS_KERNELS names once for each instruction set of this architecture. The header
// has no include guard; it puts everything into namespace abis::ABIS_TARGET::(anonymous), where ABIS_TARGET is base,
// avx2, avx512bw or avx512. It may use intrinsics of the set, and what it includes has to be included before.
// ABIS_LEVEL is the set's number, 0 to 3.
//
// The same bodies serve every set, so their results are the same to the bit; where intrinsics replace a body, tests
// compare the two. This is how Highway's foreach_target.h works.
#if defined(__x86_64__)
#pragma GCC diagnostic push
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // of what intrinsics leave undefined: GCC bug 105593
#endif
#include <immintrin.h>
#pragma GCC diagnostic pop
#endif

#define ABIS_PRAGMA(...) _Pragma(#__VA_ARGS__)
#if defined(__clang__)
#define ABIS_BEGIN_TARGET(features) \
    ABIS_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define ABIS_END_TARGET ABIS_PRAGMA(clang attribute pop)
#define ABIS_WIDE  // clang prefers the widest vectors by itself
#else
#define ABIS_BEGIN_TARGET(features) ABIS_PRAGMA(GCC push_options) ABIS_PRAGMA(GCC target(features))
#define ABIS_END_TARGET ABIS_PRAGMA(GCC pop_options)
#define ABIS_WIDE ",prefer-vector-width=512"
#endif

#define ABIS_TARGET base
#define ABIS_LEVEL 0
#include ABIS_KERNELS
#undef ABIS_TARGET
#undef ABIS_LEVEL

#if defined(__x86_64__)
#define ABIS_TARGET avx2
#define ABIS_LEVEL 1
ABIS_BEGIN_TARGET("avx2,popcnt,bmi2")
#include ABIS_KERNELS
ABIS_END_TARGET
#undef ABIS_TARGET
#undef ABIS_LEVEL

#define ABIS_TARGET avx512bw
#define ABIS_LEVEL 2
ABIS_BEGIN_TARGET("avx512f,avx512bw,avx512dq,avx512vl,popcnt,bmi2" ABIS_WIDE)
#include ABIS_KERNELS
ABIS_END_TARGET
#undef ABIS_TARGET
#undef ABIS_LEVEL

#define ABIS_TARGET avx512
#define ABIS_LEVEL 3
ABIS_BEGIN_TARGET("avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq,popcnt,bmi2" ABIS_WIDE)
#include ABIS_KERNELS
ABIS_END_TARGET
#undef ABIS_TARGET
#undef ABIS_LEVEL

// The table of this name of the level in use.
#define ABIS_CHOSEN(table) \
    (*std::array{&base::table, &avx2::table, &avx512bw::table, &avx512::table}[static_cast<std::size_t>(simd_level())])
#else
#define ABIS_CHOSEN(table) (base::table)
#endif
