// SPDX-License-Identifier: Apache-2.0
// CPU cores that this process may use. Control groups: Linux kernel documentation, admin-guide/cgroup-v2.rst,
// "cpu.max", and scheduler/sched-bwc.rst for version 1; proc_pid_cgroup(5) for the file that names the groups.
#include <cmath>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>
#include <thread>
#ifdef __linux__
#include <sched.h>
#endif

#include "core/parallel.h"

namespace abis {
namespace {

namespace fs = std::filesystem;

constexpr double kNoLimit = std::numeric_limits<double>::infinity();

// Cores' worth of time that quota and period, in microseconds, allow. "max", -1 and anything that is not a number mean
// no limit.
double cores_of(const std::string& quota, const std::string& period) {
    char* end = nullptr;
    const double q = std::strtod(quota.c_str(), &end), p = std::strtod(period.c_str(), nullptr);
    return end != quota.c_str() && q > 0 && p > 0 ? q / p : kNoLimit;
}

// What a group grants: version 2 "quota period" in one file, version 1 in two.
double limit_of(const fs::path& group) {
    std::string quota, period;
    if (std::ifstream(group / "cpu.max") >> quota >> period) return cores_of(quota, period);
    if (std::ifstream(group / "cpu.cfs_quota_us") >> quota && std::ifstream(group / "cpu.cfs_period_us") >> period)
        return cores_of(quota, period);
    return kNoLimit;
}

// The least that a group and those above it grant, up to where the groups are mounted. In a container the path may be
// that of the host, of which only the last group, the mount itself, is seen.
double least_limit(const fs::path& mount, fs::path group) {
    double least = limit_of(mount);
    for (; group.has_relative_path(); group = group.parent_path())
        least = std::min(least, limit_of(mount / group.relative_path()));
    return least;
}

double quota(const fs::path& root) {
    double least = kNoLimit;
    std::ifstream groups(root / "proc/self/cgroup");
    for (std::string line; std::getline(groups, line);) {  // number:controllers:path
        const std::size_t first = line.find(':'), second = line.find(':', first + 1);
        if (first == std::string::npos || second == std::string::npos) continue;
        std::istringstream controllers(line.substr(first + 1, second - first - 1));
        const fs::path path = line.substr(second + 1);
        if (second == first + 1) least = std::min(least, least_limit(root / "sys/fs/cgroup", path));
        for (std::string name; std::getline(controllers, name, ',');) {
            if (name == "cpu") least = std::min(least, least_limit(root / "sys/fs/cgroup/cpu", path));
        }
    }
    return least;
}

// Cores that the calling thread may run on.
unsigned affinity() {
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return static_cast<unsigned>(CPU_COUNT(&set));
#endif
    return std::max(1U, std::thread::hardware_concurrency());
}

}  // namespace

unsigned available_cores(const fs::path& root) {
    const unsigned own = affinity();
    // The quota of the real root is read once: a change of it while the process runs is rare, and searches are many.
    static const double here = quota("/");
    const double granted = std::ceil(root == "/" ? here : quota(root));
    return granted < own ? std::max(1U, static_cast<unsigned>(granted)) : own;
}

}  // namespace abis
