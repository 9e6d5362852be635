// SPDX-License-Identifier: Apache-2.0
// Large values among many. tally.cpp compiles this for every instruction set.
namespace abis::ABIS_TARGET {
namespace {

// A bit for each of kStretch values that is `least` or more.
ABIS_INLINE std::uint64_t at_least(float least, const float* values) {
    std::uint64_t bits = 0;
#if ABIS_LEVEL >= 2
    const __m512 limit = _mm512_set1_ps(least);
    for (std::size_t k = 0; k < kStretch; k += 16)
        bits |= std::uint64_t{_mm512_cmp_ps_mask(_mm512_loadu_ps(values + k), limit, _CMP_GE_OQ)} << k;
#elif ABIS_LEVEL == 1
    const __m256 limit = _mm256_set1_ps(least);
    for (std::size_t k = 0; k < kStretch; k += 8) {
        const int eight = _mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(values + k), limit, _CMP_GE_OQ));
        bits |= static_cast<std::uint64_t>(eight) << k;
    }
#else
    for (std::size_t k = 0; k < kStretch; ++k) bits |= static_cast<std::uint64_t>(values[k] >= least) << k;
#endif
    return bits;
}

// All that are `least` or more, in their order.
void find(const std::vector<float>& values, float least, std::vector<Found>& found) {
    const std::size_t whole = values.size() / kStretch * kStretch;
    for (std::size_t k = 0; k < whole; k += kStretch) {
        for (std::uint64_t bits = at_least(least, values.data() + k); bits != 0; bits &= bits - 1) {
            const std::size_t at = k + static_cast<std::size_t>(std::countr_zero(bits));
            found.push_back({values[at], static_cast<std::int64_t>(at)});
        }
    }
    for (std::size_t at = whole; at < values.size(); ++at)
        if (values[at] >= least) found.push_back({values[at], static_cast<std::int64_t>(at)});
}

constexpr auto kFind = find;

}  // namespace
}  // namespace abis::ABIS_TARGET
