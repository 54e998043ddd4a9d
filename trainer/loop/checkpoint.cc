#include "trainer/loop/checkpoint.h"

#include <cerrno>
#include <cstring>
#include <exception>
#include <fcntl.h>
#include <system_error>
#include <unistd.h>
#include <vector>

#include <ATen/Functions.h>
#include <fmt/format.h>
#include <torch/serialize/archive.h>

namespace serve::trainer {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kFormat = 1;

at::Tensor Copy(const std::vector<float>& values) {
  return at::from_blob(const_cast<float*>(values.data()), {static_cast<std::int64_t>(values.size())},
                       at::kFloat)
      .clone();
}

std::vector<float> Values(const at::Tensor& tensor) {
  const auto* data = tensor.const_data_ptr<float>();
  return {data, data + tensor.numel()};
}

bool Sync(const fs::path& path, int flags) {
  const int descriptor = open(path.c_str(), flags | O_CLOEXEC);
  if (descriptor < 0) return false;
  const bool synced = fsync(descriptor) == 0;
  close(descriptor);
  return synced;
}

at::Tensor HistoryTensor(const std::vector<Iteration>& history) {
  const at::Tensor table = at::empty({static_cast<std::int64_t>(history.size()), 3}, at::kDouble);
  auto* row = table.mutable_data_ptr<double>();
  for (const Iteration& iteration : history) {
    *row++ = iteration.loss;
    *row++ = iteration.training_accuracy;
    *row++ = iteration.validation_accuracy;
  }
  return table;
}

std::vector<Iteration> History(const at::Tensor& table) {
  std::vector<Iteration> history;
  const auto* row = table.const_data_ptr<double>();
  for (int number = 0; number < table.size(0); ++number, row += 3)
    history.push_back({number, row[0], row[1], row[2]});
  return history;
}

}  // namespace

Status SaveCheckpoint(const fs::path& file, const Checkpoint& checkpoint,
                      torch::optim::LBFGS& optimizer) try {
  std::error_code error;
  if (file.has_parent_path()) fs::create_directories(file.parent_path(), error);
  if (error) {  // what libtorch says of it is not why
    return Internal(fmt::format("cannot make the folder {} for checkpoints: {}", file.parent_path().string(),
                                error.message()));
  }
  torch::serialize::OutputArchive archive;
  archive.write("format", c10::IValue(kFormat));
  archive.write("fingerprint", c10::IValue(checkpoint.fingerprint));
  archive.write("history", HistoryTensor(checkpoint.result.history));
  archive.write("best_iteration", c10::IValue(static_cast<std::int64_t>(checkpoint.result.best_iteration)));
  archive.write("best_weight", Copy(checkpoint.result.model.weight));
  archive.write("best_bias", Copy(checkpoint.result.model.bias));
  archive.write("change", checkpoint.change);
  archive.write("bias", checkpoint.bias);
  torch::serialize::OutputArchive memory(archive.compilation_unit());
  for (auto& [parameter, state] : optimizer.state()) {
    // Scratch of a single step, of which libtorch fails to write the unused part.
    static_cast<torch::optim::LBFGSParamState&>(*state).al(std::nullopt);
  }
  optimizer.save(memory);
  archive.write("optimizer", memory);
  const fs::path partial = file.string() + ".partial";
  archive.save_to(partial.string());
  if (!Sync(partial, O_WRONLY) || rename(partial.c_str(), file.c_str()) != 0) {
    return Internal(fmt::format("cannot write the checkpoint {}: {}", file.string(), std::strerror(errno)));
  }
  Sync(file.has_parent_path() ? file.parent_path() : ".", O_RDONLY | O_DIRECTORY);
  return {};
} catch (const c10::Error& error) {
  return Internal(
      fmt::format("cannot write the checkpoint {}: {}", file.string(), error.what_without_backtrace()));
} catch (const std::exception& error) {
  return Internal(fmt::format("cannot write the checkpoint {}: {}", file.string(), error.what()));
}

Status LoadCheckpoint(const fs::path& file, Checkpoint& checkpoint, torch::optim::LBFGS& optimizer) try {
  torch::serialize::InputArchive archive;
  archive.load_from(file.string());
  c10::IValue value;
  archive.read("format", value);
  if (value.toInt() != kFormat) {
    return InvalidArgument(fmt::format("the checkpoint {} has format {}, this program reads format {}",
                                       file.string(), value.toInt(), kFormat));
  }
  archive.read("fingerprint", value);
  if (value.toStringRef() != checkpoint.fingerprint) {
    return InvalidArgument(fmt::format(
        "the checkpoint {} is of a training with other data or options; leave out --resume to begin "
        "anew, or name another --checkpoint",
        file.string()));
  }
  at::Tensor weight;
  at::Tensor bias;
  at::Tensor history;
  archive.read("history", history);
  archive.read("best_iteration", value);
  archive.read("best_weight", weight);
  archive.read("best_bias", bias);
  archive.read("change", checkpoint.change);
  archive.read("bias", checkpoint.bias);
  torch::serialize::InputArchive memory;
  archive.read("optimizer", memory);
  optimizer.load(memory);
  TrainResult& result = checkpoint.result;
  result.history = History(history);
  result.best_iteration = static_cast<int>(value.toInt());
  result.model = {static_cast<std::size_t>(bias.numel()), Values(weight), Values(bias)};
  result.resumed_from = static_cast<int>(result.history.size()) - 1;
  return {};
} catch (const std::exception&) {
  return InvalidArgument(
      fmt::format("{} is no checkpoint of this program, or it is damaged; leave out --resume to begin anew",
                  file.string()));
}

}  // namespace serve::trainer
