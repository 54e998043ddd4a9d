#include "tools/doctor/doctor.h"

#include <arpa/inet.h>
#include <cstdlib>
#include <netinet/in.h>
#include <sstream>
#include <string>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "model_store/archive/archive.h"
#include "tests/model_store/archive/test_files.h"
#include "tests/model_store/http_client/fake_server.h"
#include "tests/serve/security/test_keys.h"
#include "tools/doctor/checks.h"

namespace serve {
namespace {

using testing::AllOf;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

struct Looked {
  int code = -1;
  std::string out;
  std::string err;
};

class DoctorTest : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directory(store_);
    environment_["FLAMBEAU_UNPACK_FOLDER"] = folder_.path().string();
  }
  void TearDown() override { unsetenv("MLFLOW_TRACKING_URI"); }

  /// Looks with free ports, unless `args` say others.
  Looked Look(std::vector<std::string> args = {}) {
    for (const char* flag : {"--inference-address", "--management-address", "--metrics-address"}) {
      if (std::find(args.begin(), args.end(), flag) == args.end())
        args.insert(args.end(), {flag, "http://127.0.0.1:0"});
    }
    std::ostringstream out;
    std::ostringstream err;
    const int code = RunDoctor(args, environment_, "libnobody_has_this.so", out, err);
    return {code, out.str(), err.str()};
  }
  Looked LookAtStore(std::vector<std::string> args = {}) {
    args.insert(args.begin(), {"--model-store", store_.string()});
    return Look(args);
  }
  /// An archive of one file in the store.
  std::filesystem::path Pack(const std::string& name) {
    CreateOptions options;
    options.model_name = name;
    options.version = "1.0";
    options.serialized_file = folder_.Write("model.pt", "weights");
    options.handler = "tensor";
    options.export_path = store_;
    const auto created = CreateArchive(options);
    EXPECT_TRUE(created) << created.error().message;
    return created ? created->path : "";
  }

  TemporaryFolder folder_;
  const std::filesystem::path store_ = folder_.path() / "store";
  Environment environment_;
};

TEST_F(DoctorTest, EveryFindingIsOneLineAndAMissingLibraryFails) {
  const Looked looked = LookAtStore();
  EXPECT_EQ(looked.code, 1);
  EXPECT_THAT(looked.out, AllOf(ContainsRegex("\nok    cpu plan      .* CPUs "), HasSubstr("\nok    memory "),
                                HasSubstr("\nok    address       inference http://127.0.0.1:0"),
                                HasSubstr("the model store holds no archives")));
  EXPECT_THAT(looked.out, ContainsRegex("\nFAIL  libtorch      .*libnobody_has_this.so: cannot open.* → "));
  std::istringstream lines(looked.out);
  for (std::string line; std::getline(lines, line) && !line.empty();) {
    EXPECT_THAT(line, ContainsRegex("^(ok  |warn|FAIL)  [a-z][a-z 0-9]* ")) << "not of the form";
  }
}

TEST_F(DoctorTest, JsonIsOneObject) {
  const nlohmann::json report = nlohmann::json::parse(LookAtStore({"--json"}).out);
  EXPECT_EQ(report["ok"], false);
  EXPECT_EQ(report["failures"], 1) << report.dump(2);
  EXPECT_EQ(report["checks"][0]["name"], "settings");
  EXPECT_THAT(report["checks"][0]["verdict"], testing::AnyOf("ok", "warn"));
}

TEST_F(DoctorTest, WrongUsageIsTwoAndWrongSettingsAreFindings) {
  EXPECT_EQ(Look({"--nonsense"}).code, 2);
  EXPECT_EQ(Look({"--help"}).code, 0);
  const Looked looked = Look({"--batch-size", "many"});
  EXPECT_EQ(looked.code, 1);
  EXPECT_THAT(looked.out, AllOf(HasSubstr("FAIL  settings"), HasSubstr("many"), HasSubstr("cpu  "),
                                Not(HasSubstr("address"))));
}

TEST_F(DoctorTest, ATakenAddressNamesWhoHasIt) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(fd, 1), 0);
  ASSERT_EQ(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size), 0);
  const Looked looked =
      Look({"--inference-address", fmt::format("http://127.0.0.1:{}", ntohs(address.sin_port))});
  ::close(fd);
  EXPECT_THAT(looked.out,
              HasSubstr(fmt::format("FAIL  address       inference http://127.0.0.1:{} is taken by",
                                    ntohs(address.sin_port))));
  EXPECT_THAT(looked.out, HasSubstr(fmt::format("(process {})", ::getpid())));
}

TEST_F(DoctorTest, AnAddressOfAnotherMachineIsRefused) {
  EXPECT_THAT(Look({"--inference-address", "http://192.0.2.1:0"}).out,
              HasSubstr("this machine does not have that address"));
}

TEST_F(DoctorTest, ArchivesAreVerifiedAndOneThatIsToBeLoadedMustBeWhole) {
  const std::filesystem::path good = Pack("good");
  folder_.Write("store/bad.mar", "no zip");
  const Looked all = LookAtStore({"--models", "all"});
  EXPECT_THAT(all.out,
              AllOf(ContainsRegex("\nok    archive       good.mar: good 1.0, 1 files of .* as the manifest"),
                    ContainsRegex("\nFAIL  archive       bad.mar: .* → put it there again")));
  EXPECT_THAT(LookAtStore({"--models", "good.mar"}).out, HasSubstr("\nwarn  archive       bad.mar"));
  EXPECT_THAT(LookAtStore({"--models", "m=gone.mar"}).out, HasSubstr("load_models names gone.mar"));
  const auto left = EntriesOf(folder_.path());
  EXPECT_EQ(left.size(), 2U) << "store, model.pt and nothing that was unpacked";
}

TEST_F(DoctorTest, AMissingStoreAndAnUnwritableFolderAreSaid) {
  EXPECT_THAT(Look({"--model-store", (folder_.path() / "nowhere").string()}).out, HasSubstr("nowhere"));
  environment_["LOG_LOCATION"] = "/proc/1/nothing";
  EXPECT_THAT(LookAtStore().out, testing::AnyOf(HasSubstr("log files: /proc/1/nothing cannot be written"),
                                                HasSubstr("FAIL  settings")));
}

TEST_F(DoctorTest, TlsFilesAreOpenedAndAKeyThatOthersReadIsDoubtful) {
  TestKey::Options soon;
  soon.ends_s = 86'400 * 9 + 3600;
  const TestKey key = TestKey::Make(soon);
  const auto certificate = folder_.Write("c.pem", key.CertificatePem());
  const auto secret = folder_.Write("k.pem", key.KeyPem());
  const std::vector<std::string> args = {"--inference-address", "https://127.0.0.1:0", "--certificate-file",
                                         certificate.string(),  "--private-key-file",  secret.string()};
  ASSERT_EQ(::chmod(secret.c_str(), 0644), 0);
  EXPECT_THAT(Look(args).out,
              AllOf(ContainsRegex("warn  tls           key and certificate fit; valid until .*\\(9 days\\)"),
                    HasSubstr("is open to others (mode 644) → chmod 600")));
  folder_.Write("k.pem", TestKey::Make().KeyPem());
  ASSERT_EQ(::chmod(secret.c_str(), 0600), 0);
  EXPECT_THAT(Look(args).out, AllOf(HasSubstr("FAIL  tls"), HasSubstr("is its owner's alone")));
}

TEST_F(DoctorTest, APlatformThatCannotReachLoopbackIsTold) {
  environment_["K_SERVICE"] = "news";
  EXPECT_THAT(Look().out, ContainsRegex("FAIL  platform      Cloud Run \\(K_SERVICE=news.*0\\.0\\.0\\.0"));
  EXPECT_THAT(Look({"--inference-address", "http://0.0.0.0:0"}).out, HasSubstr("ok    platform "));
}

TEST_F(DoctorTest, MlflowIsAskedWhetherItLetsUsRead) {
  int refuse = 200;
  FakeServer mlflow([&](const FakeServer::Request& request) {
    return FakeServer::Json(std::string(request.target()).find("/api/") == 0 ? refuse : 200, "{}");
  });
  environment_["MLFLOW_TRACKING_URI"] = mlflow.url();
  setenv("MLFLOW_TRACKING_URI", mlflow.url().c_str(), 1);
  EXPECT_THAT(Look().out, HasSubstr("ok    mlflow "));
  refuse = 403;
  EXPECT_THAT(Look().out, HasSubstr("warn  mlflow "));
  EXPECT_THAT(LookAtStore({"--follow", "models:/news@production"}).out, HasSubstr("FAIL  mlflow "));
}

TEST_F(DoctorTest, ACollectorOfTracesIsSentNothingToSeeWhetherItTakesIt) {
  int status = 200;
  FakeServer collector([&](const FakeServer::Request&) { return FakeServer::Json(status, "{}"); });
  const std::vector<std::string> args = {"--trace-endpoint", collector.url() + "/v1/traces"};
  EXPECT_THAT(Look(args).out, HasSubstr("ok    traces "));
  EXPECT_EQ(collector.lines().back(), "POST /v1/traces");
  status = 401;
  EXPECT_THAT(Look(args).out, HasSubstr("answers 401 → look at trace_headers"));
}

/// The same checks on a machine that is made of files.
class MachineTest : public testing::Test {
 protected:
  MachineTest() {
    folder_.Write("proc/meminfo", "MemTotal:  8388608 kB\nMemAvailable:  6291456 kB\n");
    folder_.Write("proc/self/cgroup", "0::/pod\n");
  }
  void HasFlags(const std::string& flags) {
    folder_.Write("proc/cpuinfo",
                  "processor : 0\nmodel name\t: Some CPU\nflags\t\t: fpu " + flags + " sse2\n");
  }
  Finding Only(Findings (*check)(const Place&)) {
    const Place place{config_, config_.options, environment_, library_, folder_ / "proc", folder_ / "cgroup"};
    const Findings findings = check(place);
    EXPECT_EQ(findings.size(), 1U);
    return findings.empty() ? Finding() : findings.front();
  }

  TemporaryFolder folder_;
  const Environment environment_;
  const ParsedConfig config_ = ParseConfig({}, {}, folder_.path().string());
  const std::string library_;
};

TEST_F(MachineTest, TheMemoryLimitIsThatOfTheGroupOrOfOneAboveIt) {
  EXPECT_THAT(Only(CheckMemory).found, HasSubstr("6.0 GiB of 8.0 GiB are free"));
  folder_.Write("cgroup/pod/memory.max", "max\n");
  folder_.Write("cgroup/memory.max", "1073741824\n");
  folder_.Write("cgroup/memory.current", "536870912\n");
  const Finding enough = Only(CheckMemory);
  EXPECT_EQ(enough.verdict, Verdict::kOk);
  EXPECT_THAT(enough.found, HasSubstr("limit 1.0 GiB (cgroup memory.max), 512 MiB free"));
  folder_.Write("cgroup/memory.current", "900000000\n");
  EXPECT_EQ(Only(CheckMemory).verdict, Verdict::kFailure) << "libtorch alone needs more";
}

TEST_F(MachineTest, TheCpuIsJudgedByWhatLibtorchUses) {
  HasFlags("avx avx2 fma avx512f avx512dq avx512bw avx512vl amx_bf16");
  EXPECT_THAT(Only(CheckCpu).found, HasSubstr("Some CPU: AVX512, AMX-BF16; bfloat16 in hardware"));
  HasFlags("avx avx2 fma");
  EXPECT_THAT(Only(CheckCpu).found, HasSubstr("AVX2; bfloat16 is emulated"));
  HasFlags("avx");
  EXPECT_EQ(Only(CheckCpu).verdict, Verdict::kWarning);
  folder_.Write("proc/cpuinfo", "processor : 0\nFeatures\t: fp asimd bf16 sve\n");
  EXPECT_THAT(Only(CheckCpu).found, HasSubstr("NEON, SVE; bfloat16 in hardware"));
}

TEST_F(MachineTest, LessThanOneCpuIsDoubtful) {
  folder_.Write("cgroup/pod/cpu.max", "50000 100000\n");
  const Finding finding = Only(CheckCpuPlan);
  EXPECT_EQ(finding.verdict, Verdict::kWarning);
  EXPECT_THAT(finding.found, HasSubstr("0.5 of "));
}

}  // namespace
}  // namespace serve
