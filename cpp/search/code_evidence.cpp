// SPDX-License-Identifier: Apache-2.0
#include "search/code_evidence.h"

#include <algorithm>
#include <cmath>

namespace abis {
namespace {

using namespace parameters;

// The hits worth most, best first; of equal ones the earlier in the templates, in whatever order the probe's come.
std::size_t choose(const CodedProbe& probe, std::array<CodeHit, kMaxMinutiae * kMaxMinutiae>& hits, std::size_t found) {
    const std::size_t kept = std::min(found, kPoseHits);
    const auto begin = hits.begin();
    std::partial_sort(begin, begin + static_cast<std::ptrdiff_t>(kept), begin + static_cast<std::ptrdiff_t>(found),
                      [&](const CodeHit& a, const CodeHit& b) {
                          if (a.worth != b.worth) return a.worth > b.worth;
                          if (a.probe != b.probe) return probe.place[a.probe] < probe.place[b.probe];
                          return a.reference < b.reference;
                      });
    return kept;
}

void place(CandidateArrays& arrays, std::size_t k, const CodeHit& hit, const Minutia& first, const Minutia& second) {
    arrays.first_x[k] = first.x;
    arrays.first_y[k] = first.y;
    arrays.first_cosine[k] = cosine(first.direction);
    arrays.first_sine[k] = sine(first.direction);
    arrays.first_direction[k] = first.direction;
    arrays.first[k] = hit.probe;
    arrays.second_x[k] = second.x;
    arrays.second_y[k] = second.y;
    arrays.second_cosine[k] = cosine(second.direction);
    arrays.second_sine[k] = sine(second.direction);
    arrays.second_direction[k] = second.direction;
    arrays.second[k] = hit.reference;
}

// The evidence that chance gives, by the numbers of codes of the probe and the reference.
float chance(std::size_t minutiae, std::size_t size) { return kChanceOfPair * static_cast<float>(minutiae * size); }

}  // namespace

void evidence_of_upright_votes(const CodedProbe& probe, const SectorsView& references, const std::uint32_t* begins,
                               std::size_t slots, SlotVotes& votes, float* evidence) {
    constexpr float kShare = static_cast<float>(2 * kUprightBins + 1) / kVoteBins;  // of the pairs that are looked at
    alignas(64) std::array<std::int16_t, kSectorSlots> most;
    code_kernels().upright_votes(probe, references, votes, most.data());
    const std::size_t minutiae = std::min(probe.size, kFirstToVote);
    for (std::size_t s = 0; s < slots; ++s)
        evidence[s] =
            static_cast<float>(most[s]) * (0.5F / kWorthScale) - kShare * chance(minutiae, begins[s + 1] - begins[s]);
}

float evidence_of_votes(const CodedProbe& probe, const CodedView& reference) {
    return static_cast<float>(code_kernels().votes(probe, reference)) * (0.5F / kWorthScale) -
           chance(std::min(probe.size, kMostToVote), reference.size);
}

float evidence_of_poses(const CodedProbe& probe, const CodedView& reference, PoseWorkspace& w) {
    const std::size_t n = choose(probe, w.hits, code_kernels().hits(probe, reference, w.hits.data()));
    for (std::size_t k = 0; k < n; ++k)
        place(w.arrays, k, w.hits[k], probe.minutiae[w.hits[k].probe], w.reference[w.hits[k].reference]);
    kernels().compatibilities(w.arrays, n, w.compatibility.data());
    // The hit that those compatible with it support most stands for the pose.
    float most = 0;
    for (std::size_t a = 0; a < n; ++a) {
        const float* row = w.compatibility.data() + a * kMaxCandidates;
        float sum = static_cast<float>(w.hits[a].worth);
        for (std::size_t b = 0; b < n; ++b) sum += row[b] * static_cast<float>(w.hits[b].worth);
        const auto turn = static_cast<float>(std::abs(
            angle_difference(probe.minutiae[w.hits[a].probe].direction, w.reference[w.hits[a].reference].direction)));
        sum -= kWorthScale * kScreenRotationPrice * std::min(1.0F, turn / (256 * kMostRotation));
        most = std::max(most, sum);
    }
    return most / kWorthScale - chance(probe.size, reference.size);
}

}  // namespace abis
