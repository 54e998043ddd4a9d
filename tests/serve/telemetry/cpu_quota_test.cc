#include "serve/telemetry/cpu_quota.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace serve {
namespace {

/// A copy of the kernel's files as small as the test needs it.
class CpuQuotaTest : public ::testing::Test {
 protected:
  CpuQuotaTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "flambeau_quota_XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
    roots_ = {(folder_ / "proc").string(), (folder_ / "cgroup").string(), 8};
  }
  ~CpuQuotaTest() override { std::filesystem::remove_all(folder_); }

  void Write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories((folder_ / path).parent_path());
    std::ofstream(folder_ / path) << text << '\n';
  }

  std::filesystem::path folder_;
  CpuQuotaRoots roots_;
};

TEST_F(CpuQuotaTest, WithoutCgroupsTheAffinityMaskCounts) {
  const CpuQuota quota = ReadCpuQuota(roots_);
  EXPECT_EQ(quota.cpus, 8);
  EXPECT_EQ(quota.source, "affinity mask");
}

TEST_F(CpuQuotaTest, TheLimitOfAContainerIsRoundedUp) {
  Write("proc/self/cgroup", "0::/");
  Write("cgroup/cpu.max", "150000 100000");
  const CpuQuota quota = ReadCpuQuota(roots_);
  EXPECT_EQ(quota.cpus, 2);
  EXPECT_DOUBLE_EQ(quota.exact, 1.5);
  EXPECT_EQ(quota.source, "cgroup v2 cpu.max 150000 100000");
}

TEST_F(CpuQuotaTest, LessThanOneCpuIsStillOne) {
  Write("proc/self/cgroup", "0::/");
  Write("cgroup/cpu.max", "8000 100000");
  EXPECT_EQ(ReadCpuQuota(roots_).cpus, 1);
}

TEST_F(CpuQuotaTest, TheSmallestLimitOnTheWayUpCounts) {
  Write("proc/self/cgroup", "0::/slice/pod/container");
  Write("cgroup/slice/pod/container/cpu.max", "max 100000");
  Write("cgroup/slice/pod/cpu.max", "300000 100000");
  Write("cgroup/slice/cpu.max", "600000 100000");
  EXPECT_EQ(ReadCpuQuota(roots_).cpus, 3);
}

TEST_F(CpuQuotaTest, APathOfTheHostThatIsNotMountedFallsBackToTheMount) {
  Write("proc/self/cgroup", "0::/kubepods/burstable/pod1/abc");
  Write("cgroup/cpu.max", "400000 100000");
  EXPECT_EQ(ReadCpuQuota(roots_).cpus, 4);
}

TEST_F(CpuQuotaTest, MaxAndRubbishLimitNothing) {
  Write("proc/self/cgroup", "rubbish\n0::/a");
  Write("cgroup/a/cpu.max", "max 100000");
  Write("cgroup/cpu.max", "what 0");
  EXPECT_EQ(ReadCpuQuota(roots_).cpus, 8);
}

TEST_F(CpuQuotaTest, ReadsVersionOne) {
  Write("proc/self/cgroup", "12:cpuset:/docker/x\n4:cpu,cpuacct:/docker/x\n1:name=systemd:/docker/x");
  Write("cgroup/cpu,cpuacct/docker/x/cpu.cfs_quota_us", "250000");
  Write("cgroup/cpu,cpuacct/docker/x/cpu.cfs_period_us", "100000");
  EXPECT_EQ(ReadCpuQuota(roots_).cpus, 3);
}

TEST_F(CpuQuotaTest, VersionOneWithoutALimitSaysMinusOne) {
  Write("proc/self/cgroup", "4:cpu:/");
  Write("cgroup/cpu/cpu.cfs_quota_us", "-1");
  Write("cgroup/cpu/cpu.cfs_period_us", "100000");
  EXPECT_EQ(ReadCpuQuota(roots_).cpus, 8);
}

TEST_F(CpuQuotaTest, ALimitAboveTheMaskDoesNotRaiseIt) {
  roots_.affinity = 2;
  Write("proc/self/cgroup", "0::/");
  Write("cgroup/cpu.max", "1600000 100000");
  EXPECT_EQ(ReadCpuQuota(roots_).cpus, 2);
}

TEST(CpuQuotaOfThisMachineTest, IsAtLeastOne) { EXPECT_GE(ReadCpuQuota().cpus, 1); }

}  // namespace
}  // namespace serve
