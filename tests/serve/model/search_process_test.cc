// Shell scripts play the program that searches; what it really does is run against a fake runtime.
#include "serve/model/search_process.h"

#include <csignal>
#include <fcntl.h>
#include <string>
#include <unistd.h>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "serve/model/search_job.h"
#include "serve/runtime/fake/fake_runtime.h"
#include "tests/model_store/archive/test_files.h"

namespace serve {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::vector<std::string> Script(const std::string& text) { return {"/bin/sh", "-c", text}; }

SearchJob OneJob() {
  SearchJob job;
  job.artifact = "/models/m.fake";
  job.runtime.inputs = {*ParseTensorSpec("x:float32:[2]")};
  job.runtime.batch = {1, 8};
  job.runtime.own_file = true;
  job.options.precision = Precision::kAuto;
  job.options.threads = 3;
  job.options.cpus = 4;
  job.options.may_add_workers = true;
  job.options.refused = {{"known", "crashed"}};
  job.options.budget = std::chrono::milliseconds(5);
  for (const std::int64_t rows : {1, 2}) {
    SizedBatch batch{rows, {Tensor::Empty(DType::kFloat32, {rows, 2}), Tensor::Empty(DType::kBool, {rows})}};
    for (std::int64_t i = 0; i < rows * 2; ++i)
      batch.inputs[0].as<float>()[i] = static_cast<float>(10 * rows + i);
    for (std::int64_t i = 0; i < rows; ++i) batch.inputs[1].as<bool>()[i] = true;
    job.batches.push_back(std::move(batch));
  }
  return job;
}

std::string BytesOf(const SearchJob& job) {
  std::string bytes = JobHeader(job);
  for (const Tensor* tensor : JobTensors(job))
    bytes.append(reinterpret_cast<const char*>(tensor->data.get()), tensor->bytes());
  return bytes;
}

std::string Error(const std::string& script) {
  const Result<SearchResult> result = SearchApart(Script(script), OneJob());
  return result ? "no error" : result.error().message;
}

TEST(SearchProcessTest, AJobArrivesAsItWasSent) {
  const Result<SearchJob> job = ParseJob(BytesOf(OneJob()));
  ASSERT_TRUE(job) << job.error().message;
  EXPECT_EQ(job->artifact, "/models/m.fake");
  EXPECT_EQ(job->runtime.inputs, OneJob().runtime.inputs);
  EXPECT_EQ(job->runtime.batch, (BatchRange{1, 8}));
  EXPECT_TRUE(job->runtime.own_file);
  EXPECT_EQ(job->options.precision, Precision::kAuto);
  EXPECT_EQ(job->options.threads, 3);
  EXPECT_EQ(job->options.cpus, 4);
  EXPECT_TRUE(job->options.may_add_workers);
  EXPECT_EQ(job->options.refused, OneJob().options.refused);
  EXPECT_EQ(job->options.budget, std::chrono::milliseconds(5));
  ASSERT_EQ(job->batches.size(), 2U);
  EXPECT_EQ(job->batches[1].rows, 2);
  EXPECT_EQ(job->batches[1].inputs[0].shape, (std::vector<std::int64_t>{2, 2}));
  EXPECT_EQ(job->batches[1].inputs[0].as<float>()[3], 23);
  EXPECT_EQ(job->batches[1].inputs[1].dtype, DType::kBool);
  EXPECT_TRUE(job->batches[1].inputs[1].as<bool>()[1]);
}

TEST(SearchProcessTest, AJobThatIsCutOffAnywhereIsRefused) {
  const std::string bytes = BytesOf(OneJob());
  for (std::size_t length = 0; length < bytes.size(); ++length)
    EXPECT_FALSE(ParseJob(std::string_view(bytes).substr(0, length))) << length;
}

TEST(SearchProcessTest, WhatItFoundComesBackWithItsTrials) {
  const Result<SearchResult> found = SearchApart(
      Script("cat >/dev/null; echo '{\"trying\": \"fast\"}'; echo '{\"found\": {\"variant\": \"fast\", "
             "\"workers\": 2, \"threads\": 1, \"trials\": [{\"variant\": \"slow\", \"workers\": 1, "
             "\"threads\": 1, \"refused\": \"throws\"}]}}'"),
      OneJob());
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(found->variant, "fast");
  EXPECT_EQ(found->workers, 2);
  ASSERT_EQ(found->trials.size(), 1U);
  EXPECT_EQ(found->trials[0].refused, "throws");
}

TEST(SearchProcessTest, ACrashNamesItsSignalAndTheVariant) {
  EXPECT_EQ(Error("echo '{\"trying\": \"plain\"}'; echo '{\"trying\": \"onednn_graph\"}'; kill -SEGV $$"),
            "the search ended by signal 11 (Segmentation fault) while trying `onednn_graph`");
  EXPECT_THAT(Error("kill -KILL $$"), AllOf(HasSubstr("signal 9"), HasSubstr("too little memory")));
}

TEST(SearchProcessTest, AVariantThatItCrashesWithIsRefusedAndTheRestIsTried) {
  const Result<SearchResult> found = SearchApart(
      Script(
          "if grep -aq '\"refused\":{\"bad\":\"the search ended by signal 4'; then echo '{\"found\": "
          "{\"variant\": "
          "\"good\", \"workers\": 1, \"threads\": 1, \"trials\": []}}'; else echo '{\"trying\": \"bad\"}'; "
          "kill -ILL $$; fi"),
      OneJob());
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(found->variant, "good");
}

TEST(SearchProcessTest, RubbishIsNoResult) {
  EXPECT_EQ(Error("echo rubbish; echo '[1]'; echo '{\"trying\": 7}'; exit 3"),
            "the search ended with exit code 3 and no result");
  EXPECT_THAT(Error("echo '{\"found\": {\"variant\": 3}}'"), HasSubstr("no result of a search"));
  EXPECT_THAT(Error("head -c 3000000 /dev/zero"), HasSubstr("exit code 0 and no result"));
}

TEST(SearchProcessTest, ItsOwnWordsForAFailureArePassedOn) {
  EXPECT_EQ(Error("echo '{\"error\": \"the file is gone\"}'; exit 1"), "the file is gone");
}

TEST(SearchProcessTest, AProgramThatIsNotThereIsToldApart) {
  const Result<SearchResult> result = SearchApart({"/nowhere/flambeau"}, OneJob());
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Code::kNotImplemented);
  EXPECT_THAT(result.error().message, HasSubstr("/nowhere/flambeau: No such file or directory"));
}

TEST(SearchProcessTest, AStopEndsItAtOnce) {
  const TemporaryFolder folder;
  const std::filesystem::path id = folder / "id";
  SearchJob job = OneJob();
  job.options.stop = [&] { return std::filesystem::exists(id); };
  const Result<SearchResult> result =
      SearchApart(Script(fmt::format("echo $$ >{0}.new; mv {0}.new {0}; exec sleep 1000", id.string())), job);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Code::kUnavailable);
  EXPECT_NE(kill(std::stoi(ReadAll(id)), 0), 0) << "it still runs";
}

TEST(SearchProcessTest, OneThatClosesItsOutputAndStaysIsEndedByAStopToo) {
  const TemporaryFolder folder;
  const std::filesystem::path id = folder / "id";
  SearchJob job = OneJob();
  job.options.stop = [&] { return std::filesystem::exists(id); };
  const Result<SearchResult> result = SearchApart(
      Script(fmt::format("exec >/dev/null; echo $$ >{0}.new; mv {0}.new {0}; exec sleep 1000", id.string())),
      job);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Code::kUnavailable);
}

TEST(SearchProcessTest, ItInheritsNoOpenFile) {
  const int file = open("/dev/null", O_RDONLY);  // without O_CLOEXEC
  ASSERT_GT(file, 2);
  EXPECT_EQ(Error(fmt::format("if [ -e /proc/$$/fd/{} ]; then e=inherited; else e=closed; fi; "
                              "echo \"{{\\\"error\\\": \\\"$e\\\"}}\"",
                              file)),
            "closed");
  close(file);
}

/// What AnswerSearch writes for the job.
std::string Answer(const SearchJob& job, FakeRuntime::Function function, int& code) {
  const TemporaryFolder folder;
  const int input = open(folder.Write("job", BytesOf(job)).c_str(), O_RDONLY);
  const int output = open((folder / "answer").c_str(), O_WRONLY | O_CREAT, 0600);
  std::vector<std::unique_ptr<RuntimeFactory>> factories;
  factories.push_back(std::make_unique<FakeRuntimeFactory>(std::move(function)));
  code = AnswerSearch(factories, input, output);
  close(input);
  close(output);
  return ReadAll(folder / "answer");
}

TEST(SearchProcessTest, TheOtherSideSearchesAndAnswers) {
  int code = -1;
  SearchJob job = OneJob();
  job.options.threads = 1;
  job.options.may_add_workers = false;
  const std::string answer = Answer(job, FakeRuntime::Echo, code);
  EXPECT_EQ(code, 0);
  EXPECT_THAT(answer, AllOf(HasSubstr("{\"trying\":\"plain\"}\n"),
                            HasSubstr("{\"found\":{\"variant\":\"plain\",\"workers\":1,\"threads\":1")));
}

TEST(SearchProcessTest, TheOtherSideSaysWhyItCannot) {
  int code = -1;
  const auto fails = [](const std::vector<Tensor>&) -> Result<RunOutputs> {
    return Internal("it is broken");
  };
  EXPECT_THAT(Answer(OneJob(), fails, code), HasSubstr("{\"error\":\"it is broken\"}\n"));
  EXPECT_EQ(code, 1);
  SearchJob other = OneJob();
  other.artifact = "m.unknown";
  EXPECT_THAT(Answer(other, FakeRuntime::Echo, code), HasSubstr("no runtime takes this kind of file"));
}

}  // namespace
}  // namespace serve
