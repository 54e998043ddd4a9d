#include "serve/telemetry/metrics.h"

#include <algorithm>
#include <functional>
#include <tuple>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include "serve/base/log.h"
#include "serve/telemetry/process_stats.h"
#include "serve/telemetry/torchserve_metrics.h"

namespace serve {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;
using Models = std::vector<std::shared_ptr<ModelMetrics>>;

ClientMetric CounterSample(Labels labels, double value) {
  ClientMetric sample;
  sample.label = std::move(labels);
  sample.counter.value = value;
  return sample;
}

ClientMetric GaugeSample(Labels labels, double value) {
  ClientMetric sample;
  sample.label = std::move(labels);
  sample.gauge.value = value;
  return sample;
}

ClientMetric HistogramSample(Labels labels, const Histogram::Snapshot& read) {
  ClientMetric sample;
  sample.label = std::move(labels);
  sample.histogram.sample_count = read.count;
  sample.histogram.sample_sum = read.sum;
  std::uint64_t below = 0;
  for (std::size_t i = 0; i < read.bounds.size(); ++i) {
    below += read.counts[i];
    sample.histogram.bucket.push_back({below, read.bounds[i]});
  }
  return sample;  // the serializer adds le="+Inf" from sample_count
}

std::string HostName() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0) return "unknown";
  return name.data();
}

/// Collects families in the order in which they are printed.
class Families {
 public:
  explicit Families(const Models& models) : models_(models) {}

  void AddCounter(std::string name, std::string help, double value) {
    Start(std::move(name), std::move(help), MetricType::Counter).push_back(CounterSample({}, value));
  }
  void AddGauge(std::string name, std::string help, double value) {
    Start(std::move(name), std::move(help), MetricType::Gauge).push_back(GaugeSample({}, value));
  }
  std::vector<ClientMetric>& Start(std::string name, std::string help, MetricType type) {
    families_.push_back({std::move(name), std::move(help), type, {}});
    return families_.back().metric;
  }
  /// `read`: reads the value of one model.
  void AddModelCounter(std::string name, std::string help,
                       const std::function<double(const ModelMetrics&)>& read, const Labels& more = {}) {
    auto& samples = Start(std::move(name), std::move(help), MetricType::Counter);
    for (const auto& model : models_)
      samples.push_back(CounterSample(ModelLabels(*model, more), read(*model)));
  }
  void AddModelGauge(std::string name, std::string help, const Gauge ModelMetrics::*gauge) {
    auto& samples = Start(std::move(name), std::move(help), MetricType::Gauge);
    for (const auto& model : models_) {
      samples.push_back(GaugeSample(ModelLabels(*model), static_cast<double>(((*model).*gauge).Value())));
    }
  }
  void AddModelHistogram(std::string name, std::string help, const Histogram ModelMetrics::*histogram) {
    auto& samples = Start(std::move(name), std::move(help), MetricType::Histogram);
    for (const auto& model : models_) {
      samples.push_back(HistogramSample(ModelLabels(*model), ((*model).*histogram).Read()));
    }
  }

  static Labels ModelLabels(const ModelMetrics& model, const Labels& more = {}) {
    Labels labels = {{"model_name", model.model_name}, {"model_version", model.model_version}};
    labels.insert(labels.end(), more.begin(), more.end());
    return labels;
  }
  [[nodiscard]] const Models& models() const { return models_; }
  [[nodiscard]] const std::vector<MetricFamily>& all() const { return families_; }

 private:
  const Models& models_;
  std::vector<MetricFamily> families_;
};

double AsDouble(const Counter& counter) { return static_cast<double>(counter.Value()); }

void AddRequests(Families& families, const std::string& host) {
  families.AddModelCounter(
      "ts_inference_requests_total", "Prediction requests for a known model, refused ones included.",
      [](const ModelMetrics& model) { return AsDouble(model.requests); }, {{"hostname", host}});
}

/// As they are listed, with TorchServe's words.
void AddTorchServeFamilies(Families& families, const TorchServeMetrics& torchserve,
                           const MetricInputs& inputs) {
  const std::vector<MetricSeries> all = torchserve.Read(inputs);
  for (const TorchServeMetric& metric : torchserve.metrics()) {
    const bool counter = metric.type == TorchServeMetric::Type::kCounter;
    auto& samples = families.Start(metric.name,
                                   fmt::format("Torchserve prometheus {} metric with unit: {}",
                                               counter ? "counter" : "gauge", metric.unit),
                                   counter ? MetricType::Counter : MetricType::Gauge);
    for (const MetricSeries& series : all) {
      if (series.metric != &metric) continue;
      Labels labels;
      for (std::size_t i = 0; i < series.labels.size(); ++i)
        labels.push_back({metric.dimensions[i], series.labels[i]});
      samples.push_back(counter ? CounterSample(std::move(labels), series.value)
                                : GaugeSample(std::move(labels), series.value));
    }
  }
}

void AddModelFamilies(Families& families) {
  auto& predictions =
      families.Start("flambeau_predictions_total",
                     "Predictions that a model was asked to compute, by outcome.", MetricType::Counter);
  for (const auto& model : families.models()) {
    predictions.push_back(
        CounterSample(Families::ModelLabels(*model, {{"outcome", "ok"}}), AsDouble(model->succeeded)));
    predictions.push_back(
        CounterSample(Families::ModelLabels(*model, {{"outcome", "error"}}), AsDouble(model->failed)));
  }
  auto& rejections = families.Start("flambeau_rejections_total",
                                    "Requests that were answered without running the model, by reason.",
                                    MetricType::Counter);
  for (const auto& model : families.models()) {
    for (std::size_t i = 0; i < kRejectReasonNames.size(); ++i) {
      rejections.push_back(
          CounterSample(Families::ModelLabels(*model, {{"reason", std::string(kRejectReasonNames[i])}}),
                        AsDouble(model->rejected[i])));
    }
  }
  auto& batches = families.Start("flambeau_batches_total",
                                 "Batches by the reason for which they left the queue.", MetricType::Counter);
  for (const auto& model : families.models()) {
    for (std::size_t i = 0; i < kBatchReasonNames.size(); ++i) {
      batches.push_back(
          CounterSample(Families::ModelLabels(*model, {{"reason", std::string(kBatchReasonNames[i])}}),
                        AsDouble(model->batches[i])));
    }
  }
  families.AddModelCounter("flambeau_batch_retries_total", "Parts of a failed batch that were run again.",
                           [](const ModelMetrics& model) { return AsDouble(model.batch_retries); });

  families.AddModelHistogram("flambeau_request_seconds",
                             "From the arrival of a request to its rendered answer.", &ModelMetrics::total);
  families.AddModelHistogram("flambeau_queue_seconds", "Time of a request in the queue.",
                             &ModelMetrics::queue);
  families.AddModelHistogram("flambeau_batch_wait_seconds",
                             "How long the oldest request of a batch waited for company.",
                             &ModelMetrics::batch_wait);
  families.AddModelHistogram("flambeau_prepare_seconds", "Reading one request into tensors.",
                             &ModelMetrics::prepare);
  families.AddModelHistogram("flambeau_inference_seconds", "Joining, running and splitting one batch.",
                             &ModelMetrics::inference);
  families.AddModelHistogram("flambeau_render_seconds", "Writing one answer.", &ModelMetrics::render);
  families.AddModelHistogram("flambeau_batch_size_rows", "Rows of the batches that were run.",
                             &ModelMetrics::batch_size);
  families.AddModelHistogram("flambeau_model_load_seconds",
                             "Loading, checking and warming up a model version.", &ModelMetrics::load);

  families.AddModelGauge("flambeau_queue_depth", "Requests that wait in the queue.",
                         &ModelMetrics::queue_depth);
  families.AddModelGauge("flambeau_in_flight_requests", "Requests that were accepted and are not answered.",
                         &ModelMetrics::in_flight);
  auto& workers = families.Start("flambeau_workers", "Workers by state.", MetricType::Gauge);
  for (const auto& model : families.models()) {
    for (std::size_t i = 0; i < kWorkerStateNames.size(); ++i) {
      workers.push_back(
          GaugeSample(Families::ModelLabels(*model, {{"state", std::string(kWorkerStateNames[i])}}),
                      static_cast<double>(model->workers[i].Value())));
    }
  }
}

/// One series for each name, of the models that counted anything there.
template <std::size_t size>
void AddNamedCounters(Families& families, std::string name, std::string help, const char* label,
                      const std::array<std::string_view, size>& names,
                      const std::array<Counter, size> ModelMetrics::*counters) {
  auto& samples = families.Start(std::move(name), std::move(help), MetricType::Counter);
  for (const auto& model : families.models()) {
    const std::array<Counter, size>& all = (*model).*counters;
    if (std::all_of(all.begin(), all.end(), [](const Counter& counter) { return counter.Value() == 0; }))
      continue;
    for (std::size_t i = 0; i < size; ++i) {
      samples.push_back(
          CounterSample(Families::ModelLabels(*model, {{label, std::string(names[i])}}), AsDouble(all[i])));
    }
  }
}

void AddTrafficFamilies(Families& families) {
  auto& weights =
      families.Start("flambeau_traffic_weight_ratio",
                     "Part of the requests without a version that goes to this one.", MetricType::Gauge);
  for (const auto& model : families.models()) {
    weights.push_back(GaugeSample(Families::ModelLabels(*model),
                                  static_cast<double>(model->traffic_points.Value()) / 10'000));
  }
  AddNamedCounters(families, "flambeau_traffic_requests_total",
                   "Requests for which a traffic plan chose the version, by how it did.", "by",
                   kTrafficChoiceNames, &ModelMetrics::chosen);
  AddNamedCounters(families, "flambeau_traffic_decisions_total", "What rules decided about a version.",
                   "decision", kTrafficDecisionNames, &ModelMetrics::decisions);
  AddNamedCounters(
      families, "flambeau_shadow_total",
      "Copies of requests for a version that is tried out in the shadow, by what became of them.", "result",
      kShadowResultNames, &ModelMetrics::shadow);
  auto& differences = families.Start(
      "flambeau_shadow_largest_difference",
      "The largest relative difference between two numbers of compared answers.", MetricType::Gauge);
  for (const auto& model : families.models()) {
    if (const double difference = model->shadow_difference.load(); difference > 0)
      differences.push_back(GaugeSample(Families::ModelLabels(*model), difference));
  }
}

void AddWorkflowFamilies(Families& families, const std::vector<std::shared_ptr<WorkflowMetrics>>& workflows) {
  if (workflows.empty()) return;
  auto& requests = families.Start("flambeau_workflow_requests_total",
                                  "Answered requests of a workflow, by status.", MetricType::Counter);
  for (const auto& workflow : workflows) {
    for (std::size_t i = 0; i < kHttpClasses.size(); ++i) {
      if (i == 0 || i == 2) continue;  // never answered
      requests.push_back(
          CounterSample({{"workflow", workflow->workflow}, {"code", std::string(kHttpClasses[i])}},
                        AsDouble(workflow->requests[i])));
    }
  }
  auto& duration = families.Start("flambeau_workflow_duration_seconds",
                                  "From the arrival of a workflow's request to the answer of its last node.",
                                  MetricType::Histogram);
  for (const auto& workflow : workflows) {
    duration.push_back(HistogramSample({{"workflow", workflow->workflow}}, workflow->duration.Read()));
  }
}

void AddProcessFamilies(Families& families) {
  const ProcessStats process = ReadProcessStats();
  families.AddGauge("process_resident_memory_bytes", "Memory of the process that lies in RAM.",
                    process.resident_bytes);
  families.AddGauge("process_virtual_memory_bytes", "Address space of the process.", process.virtual_bytes);
  families.AddCounter("process_cpu_seconds_total", "CPU time of the process, user and system.",
                      process.cpu_seconds);
  families.AddGauge("process_open_fds", "File descriptors that are open.", process.open_fds);
  families.AddGauge("process_max_fds", "File descriptors that may be open.", process.max_fds);
  families.AddGauge("process_start_time_seconds", "When the process started, in Unix time.",
                    process.start_time_seconds);
  families.AddGauge("process_threads", "Threads of the process.", process.threads);
}

/// Keeps the samples whose name is one of `names`, and the heads of the families that still have one.
std::string KeepOnly(const std::string& text, const std::vector<std::string>& names) {
  std::string kept;
  std::string head;
  for (std::size_t start = 0; start < text.size();) {
    const std::size_t end = std::min(text.find('\n', start), text.size() - 1) + 1;
    const std::string_view line(text.data() + start, end - start);
    start = end;
    if (line.substr(0, 6) == "# HELP") head.clear();
    if (line[0] == '#') {
      head += line;
      continue;
    }
    const std::string_view name = line.substr(0, line.find_first_of("{ "));
    if (std::find(names.begin(), names.end(), name) == names.end()) continue;
    kept += head;
    kept += line;
    head.clear();
  }
  return kept;
}

}  // namespace

std::uint64_t Counter::Value() const {
  std::uint64_t sum = 0;
  for (const Shard& shard : shards_) sum += shard.value.load(std::memory_order_relaxed);
  return sum;
}

void Histogram::Observe(double value) {
  const std::vector<double>& bounds = *bounds_;
  std::size_t bucket = 0;
  while (bucket < bounds.size() && value > bounds[bucket]) ++bucket;  // what is fast must be cheap: one look
  Shard& shard = shards_[ThreadShard()];
  shard.counts[bucket].fetch_add(1, std::memory_order_relaxed);
  shard.sum.fetch_add(value, std::memory_order_relaxed);
}

Histogram::Snapshot Histogram::Read() const {
  Snapshot read;
  read.bounds = *bounds_;
  read.counts.resize(read.bounds.size() + 1);
  for (const Shard& shard : shards_) {
    for (std::size_t i = 0; i < read.counts.size(); ++i) {
      const std::uint64_t count = shard.counts[i].load(std::memory_order_relaxed);
      read.counts[i] += count;
      read.count += count;
    }
    read.sum += shard.sum.load(std::memory_order_relaxed);
  }
  return read;
}

const std::vector<double>& LatencyBounds() {
  static const std::vector<double> bounds = {0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005,
                                             0.01,    0.025,  0.05,    0.1,    0.25,  0.5,    1,
                                             2.5,     5,      10,      30,     60};
  return bounds;
}

const std::vector<double>& BatchSizeBounds() {
  static const std::vector<double> bounds = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024};
  return bounds;
}

const std::vector<double>& LoadBounds() {
  static const std::vector<double> bounds = {0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120};
  return bounds;
}

Metrics::Metrics(bool torchserve_names) : torchserve_names_(torchserve_names) {
  UseTorchServe(DefaultTorchServeMetrics(), true);
}
Metrics::~Metrics() = default;

void Metrics::UseTorchServe(std::vector<TorchServeMetric> metrics, bool system) {
  torchserve_ = std::make_unique<TorchServeMetrics>(std::move(metrics), system);
}

void Metrics::Sample() { torchserve_->Sample(Inputs()); }
std::string Metrics::LogLines(bool of_model) { return torchserve_->Lines(Inputs(), of_model); }

MetricInputs Metrics::Inputs() const {
  MetricInputs inputs;
  {
    const std::lock_guard lock(mutex_);
    for (const std::weak_ptr<ModelMetrics>& entry : models_) {
      if (std::shared_ptr<ModelMetrics> model = entry.lock()) inputs.models.push_back(std::move(model));
    }
  }
  std::sort(inputs.models.begin(), inputs.models.end(), [](const auto& left, const auto& right) {
    return std::tie(left->model_name, left->model_version) <
           std::tie(right->model_name, right->model_version);
  });
  for (std::size_t i = 0; i < http_.size(); ++i) inputs.http[i] = AsDouble(http_[i]);
  inputs.host = HostName();
  return inputs;
}

std::shared_ptr<ModelMetrics> Metrics::ForModel(std::string name, std::string version) {
  const std::lock_guard lock(mutex_);
  std::erase_if(models_, [](const std::weak_ptr<ModelMetrics>& model) { return model.expired(); });
  for (const std::weak_ptr<ModelMetrics>& entry : models_) {
    std::shared_ptr<ModelMetrics> model = entry.lock();
    if (model && model->model_name == name && model->model_version == version) return model;
  }
  auto model = std::make_shared<ModelMetrics>(std::move(name), std::move(version));
  models_.push_back(model);
  return model;
}

std::shared_ptr<WorkflowMetrics> Metrics::ForWorkflow(std::string name) {
  const std::lock_guard lock(mutex_);
  std::erase_if(workflows_,
                [](const std::weak_ptr<WorkflowMetrics>& workflow) { return workflow.expired(); });
  for (const std::weak_ptr<WorkflowMetrics>& entry : workflows_) {
    std::shared_ptr<WorkflowMetrics> workflow = entry.lock();
    if (workflow && workflow->workflow == name) return workflow;
  }
  auto workflow = std::make_shared<WorkflowMetrics>(std::move(name));
  workflows_.push_back(workflow);
  return workflow;
}

void Metrics::SetInstance(std::string service, std::string revision, std::string configuration) {
  instance_ = {std::move(service), std::move(revision), std::move(configuration)};
}

std::string Metrics::Text(const std::vector<std::string>& names) const {
  std::vector<std::shared_ptr<WorkflowMetrics>> workflows;
  {
    const std::lock_guard lock(mutex_);
    for (const std::weak_ptr<WorkflowMetrics>& entry : workflows_) {
      if (std::shared_ptr<WorkflowMetrics> workflow = entry.lock()) workflows.push_back(std::move(workflow));
    }
  }
  std::sort(workflows.begin(), workflows.end(),
            [](const auto& left, const auto& right) { return left->workflow < right->workflow; });

  const MetricInputs inputs = Inputs();
  const Models& models = inputs.models;
  Families families(models);
  if (torchserve_names_) {
    AddTorchServeFamilies(families, *torchserve_, inputs);
  } else {
    AddRequests(families, inputs.host);
  }
  AddModelFamilies(families);
  AddTrafficFamilies(families);
  AddWorkflowFamilies(families, workflows);

  auto& http = families.Start("flambeau_http_requests_total",
                              "Answered HTTP requests of all listeners, by status.", MetricType::Counter);
  for (std::size_t i = 0; i < kHttpClasses.size(); ++i) {
    http.push_back(CounterSample({{"code", std::string(kHttpClasses[i])}}, AsDouble(http_[i + 1])));
  }
  families.AddGauge("flambeau_connections", "Open connections of all listeners.",
                    static_cast<double>(connections.Value()));
  families.AddCounter("flambeau_connections_refused_total", "Connections over the limit.",
                      AsDouble(connections_refused));
  families.AddCounter("flambeau_tls_handshake_failures_total",
                      "Connections to a TLS listener that did not become one, plain HTTP among them.",
                      AsDouble(tls_handshake_failures));
  if (tls_certificate_expires.Value() != 0) {
    families.AddGauge("flambeau_tls_certificate_expiry_timestamp_seconds",
                      "When the certificate that new connections are shown expires.",
                      static_cast<double>(tls_certificate_expires.Value()));
  }
  families.AddCounter("flambeau_streams_broken_total",
                      "Answers in parts that the server ended early: an error, a deadline, a client that did "
                      "not read.",
                      AsDouble(streams_broken));
  families.AddGauge("flambeau_models_loaded", "Model versions that are registered.",
                    static_cast<double>(models.size()));
  families.AddCounter("flambeau_model_load_failures_total", "Model versions that could not be loaded.",
                      AsDouble(model_load_failures));
  families.AddGauge("flambeau_follow_failing",
                    "Followed aliases whose version is not served, or whose registry did not answer.",
                    static_cast<double>(follow_failing.Value()));
  families.Start("flambeau_build_info", "Always 1; the label says which version runs.", MetricType::Gauge)
      .push_back(GaugeSample({{"version", FLAMBEAU_VERSION}}, 1));
  if (!instance_[0].empty()) {
    families
        .Start("flambeau_instance_info", "Always 1; the labels are the platform's names of this process.",
               MetricType::Gauge)
        .push_back(GaugeSample(
            {{"k_service", instance_[0]}, {"k_revision", instance_[1]}, {"k_configuration", instance_[2]}},
            1));
  }
  families.AddCounter("flambeau_spans_exported_total", "Spans that the collector of traces has taken.",
                      AsDouble(spans_exported));
  auto& dropped = families.Start("flambeau_spans_dropped_total", "Spans that were not exported, by reason.",
                                 MetricType::Counter);
  for (std::size_t i = 0; i < kSpanDropNames.size(); ++i) {
    dropped.push_back(
        CounterSample({{"reason", std::string(kSpanDropNames[i])}}, AsDouble(spans_dropped[i])));
  }
  families.AddCounter("flambeau_log_lines_lost_total",
                      "Log lines that came too fast or could not be written.",
                      static_cast<double>(LostLogLines()));
  AddProcessFamilies(families);

  const std::string text = prometheus::TextSerializer().Serialize(families.all());
  return names.empty() ? text : KeepOnly(text, names);
}

}  // namespace serve
