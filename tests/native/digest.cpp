// SPDX-License-Identifier: Apache-2.0
// Prints one digest of all that the core computes: the same for every compiler, instruction set and number of threads.
// ABIS_SIMD chooses the instruction set.
#include <cstdio>
#include <numeric>

#include "columns.h"
#include "core/simd.h"
#include "fingerprint/kernels.h"
#include "fingerprint/references.h"
#include "made_up.h"
#include "search/finger_index.h"
#include "search/finger_tile.h"
#include "search/tally.h"

using namespace abis;
using namespace abis::made_up;

namespace {

std::uint64_t digest(unsigned threads) {
    const Fingers fingers(100, 3, 1);
    const auto& templates = fingers.templates();
    Digest digest;
    References references;
    references.append(templates, threads, no_poll);
    FingerIndex index;
    index.append(templates, threads, no_poll);
    const OwnColumns columns(index);
    const std::size_t n = templates.size();
    std::vector<std::int64_t> slots(n);
    std::iota(slots.begin(), slots.end(), 0);
    std::vector<float> values(n);
    Tally tally;
    for (std::size_t p = 0; p < n; p += 17) {
        const FingerProbe probe(templates[p]);
        for (const float cutoff : {-1e9F, 0.0F}) {
            references.compare(templates[p], nullptr, n, cutoff, threads, no_poll, values.data());
            digest.add(values);
        }
        screen(index, probe, threads, values.data());
        digest.add(values);
        tally.begin(n);
        tally.next_position();
        const Owners<std::uint32_t> owners{0, nullptr, n, nullptr};
        std::copy(values.begin(), values.end(), tally.room(owners));
        tally.add(owners);
        for (const std::size_t count : {std::size_t{1}, n / 3, n}) digest.add(tally.largest(count, nullptr, 0));
        index.sift(probe, slots.data(), n, threads, no_poll, values.data());
        digest.add(values);
        index.refine(probe, slots.data(), n, threads, no_poll, values.data());
        digest.add(values);
        index.compare(probe, slots.data(), n, threads, no_poll, values.data());
        digest.add(values);
    }
    const FingerTile tile(columns.view(), n, threads, no_poll);
    const std::vector<std::int64_t> limits(n, static_cast<std::int64_t>(n));
    for (const FingerPair& pair : tile.near(tile, 0, n, limits.data(), 0, threads, no_poll)) {
        digest.add(pair.probe);
        digest.add(pair.reference);
        digest.add(pair.evidence);
    }
    digest.add(columns.first);
    digest.add(columns.second);
    digest.add(columns.x);
    digest.add(columns.reliability);
    Random random(2);
    constexpr std::size_t kLength = 512, kRows = 50;
    std::vector<std::uint16_t> halves(kRows * kLength);
    for (auto& half : halves) half = static_cast<std::uint16_t>(random.next() & 0xFBFF);  // none is infinite
    std::vector<float> signs(2 * kLength), turned(kLength);
    for (auto& sign : signs) sign = random.below(2) == 0 ? -1.0F : 1.0F;
    for (const std::size_t d : {std::size_t{31}, std::size_t{512}}) {
        kernels().dot_products(halves.data(), halves.data(), kLength, nullptr, kRows, d, values.data());
        digest.add(std::vector<float>(values.begin(), values.begin() + kRows));
        kernels().rotate(halves.data(), d, signs.data(), kLength, turned.data());
        digest.add(turned);
    }
    return digest.value();
}

}  // namespace

int main() {
    const std::uint64_t one = digest(1);
    if (digest(3) != one) {
        std::puts("another number of threads gives other results");
        return 1;
    }
    std::printf("%016llx %s\n", static_cast<unsigned long long>(one), name_of(simd_level()));
}
