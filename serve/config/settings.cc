#include "serve/config/settings.h"

#include <chrono>
#include <utility>

#include "serve/config/key_values.h"
#include "serve/config/setting_kinds.h"

namespace serve {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::string_view kAddresses = "Addresses";
constexpr std::string_view kTls = "TLS, for addresses that begin with https://";
constexpr std::string_view kTokens = "Tokens";
constexpr std::string_view kModels = "Models";
constexpr std::string_view kBatching =
    "Queue and batches of a model version (a register call may say otherwise)";
constexpr std::string_view kLimits = "Limits of HTTP connections";
constexpr std::string_view kAnswers = "Answers";
constexpr std::string_view kThreads = "Threads";
constexpr std::string_view kMetrics = "Metrics";
constexpr std::string_view kLogs = "Logs";
constexpr std::string_view kTraces = "Traces (OpenTelemetry)";
constexpr std::string_view kProgram = "Start and end";

VersionOptions& Defaults(AppOptions& options) { return options.management_api.defaults; }

std::vector<Setting> MakeSettings() {
  std::vector<Setting> rows;

  rows.push_back(Address({"inference_address", kAddresses, "http://127.0.0.1:8080",
                          "Where predictions are served. Port 0: any free one; unix:/path: a Unix socket. "
                          "$PORT moves it to 0.0.0.0:$PORT "
                          "unless the flag is given."},
                         {80, 443}, &AppOptions::inference));
  rows.push_back(Address({"management_address", kAddresses, "http://127.0.0.1:8081",
                          "Where models are registered, scaled and removed. Keep it away from clients."},
                         {8081, 8444}, &AppOptions::management));
  rows.push_back(
      Address({"metrics_address", kAddresses, "http://127.0.0.1:8082", "Where /metrics is served."},
              {8082, 8445}, &AppOptions::metrics));
  rows.push_back(Boolean({"single_port", kAddresses, "false",
                          "Whether the inference address serves everything: predictions, metrics, and the "
                          "management API when it asks for tokens or insecure=true."},
                         [](AppOptions& o, bool on) { o.single_port = on; }));
  rows.push_back(Text(
      {"port_file", kAddresses, "", "The addresses are written to this file once all listeners are open."},
      "FILE", [](AppOptions& o, std::string_view text) { o.port_file = text; }));

  const auto tls_file = [](const Row& row, std::string TlsOptions::*member) {
    return Text(row, "FILE", [member](AppOptions& o, std::string_view text) { o.tls.*member = text; });
  };
  rows.push_back(tls_file({"certificate_file", kTls, "",
                           "Certificate in PEM form, then those of its issuers. Read again when it changes."},
                          &TlsOptions::certificate_file));
  rows.push_back(
      tls_file({"private_key_file", kTls, "", "Its key in PEM form, RSA or EC, without a passphrase."},
               &TlsOptions::private_key_file));
  rows.push_back(
      tls_file({"keystore", kTls, "", "Key and certificate in one PKCS12 file, instead of the two."},
               &TlsOptions::keystore));
  rows.push_back(Text({"keystore_pass", kTls, "changeit", "Its password; better given by the environment."},
                      "TEXT", [](AppOptions& o, std::string_view text) { o.tls.keystore_pass = text; }));
  rows.back().is_secret = true;
  rows.push_back(KeystoreType({"keystore_type", kTls, "PKCS12", "Its form; JKS must be converted."}));
  rows.push_back(Choice({"tls_min_version", kTls, "1.2", "The oldest version of TLS that is spoken."},
                        {"1.2", "1.3"},
                        [](AppOptions& o, std::size_t choice) { o.tls.only_tls_1_3 = choice == 1; }));
  rows.push_back(tls_file({"client_ca_file", kTls, "",
                           "Certificates in PEM form; clients must show one that was issued by one of them."},
                          &TlsOptions::client_ca_file));
  rows.push_back(Listeners({"client_certificates", kTls, "inference,management",
                            "Which of the https addresses ask for it: inference, management, metrics."}));

  rows.push_back(Choice(
      {"disable_token_authorization", kTokens, "auto",
       "false: every call needs a token (Authorization: Bearer KEY), but for metrics on a port of their own. "
       "auto: only when key_file or "
       "token_file is set."},
      {"auto", "true", "false"}, [](AppOptions& o, std::size_t choice) { o.tokens.enabled = choice == 2; }));
  rows.back().is_boolean = true;
  rows.push_back(
      Text({"key_file", kTokens, "",
            "Keys that are made at start are written here, for the owner alone. Empty: key_file.json in the "
            "working folder, or none when there is a token_file."},
           "FILE", [](AppOptions& o, std::string_view text) { o.tokens.key_file = text; }));
  rows.push_back(Minutes({"token_expiration_min", kTokens, "60",
                          "How long a key of key_file lasts; /token?type=management renews it."}));
  rows.push_back(Text(
      {"token_file", kTokens, "",
       "Keys that last: {\"inference\": [\"KEY\"], \"management\": [\"KEY\"]}. Read again when it changes."},
      "FILE", [](AppOptions& o, std::string_view text) { o.tokens.token_file = text; }));
  rows.push_back(Boolean({"insecure", kTokens, "false",
                          "Whether the management API may be reached from other machines without a token."},
                         [](AppOptions& o, bool on) { o.insecure = on; }));

  rows.push_back(Text({"model_store", kModels, "", "Folder with the archives that may be registered."},
                      "FOLDER",
                      [](AppOptions& o, std::string_view text) { o.management_api.model_store = text; }));
  rows.push_back(Text({"workflow_store", kModels, "",
                       "Folder with the workflows that may be registered. Empty: the model store."},
                      "FOLDER",
                      [](AppOptions& o, std::string_view text) { o.management_api.workflow_store = text; }));
  rows.push_back(Number({"max_workflow_nodes", kModels, "64", "Nodes of one workflow."}, "N", 1, 10'000,
                        [](AppOptions& o, std::int64_t n) {
                          o.management_api.max_workflow_nodes = static_cast<std::size_t>(n);
                        }));
  rows.push_back(
      Text({"load_models", kModels, "none",
            "What is loaded at start: all (each .mar, .tar.gz, .tgz, .pt, .pt2 and folder with a manifest "
            "of the model store), none, or archives with commas between them, a.mar or name=a.mar. "
            "Also as --models."},
           "LIST", [](AppOptions& o, std::string_view text) { o.load_models = text; }));
  rows.push_back(Boolean({"exit_on_load_failure", kModels, "false",
                          "true: a server that could not load one of these ends with exit code 1, so that a "
                          "deployment fails at once. false: it stays, /ping says 503 and why."},
                         [](AppOptions& o, bool value) { o.exit_on_load_failure = value; }));
  rows.push_back(ModelsSetting(
      {"models", kModels, "",
       "Workers, batches and timeouts of single versions, for those that are loaded anyway: {name: {version: "
       "{minWorkers, maxWorkers, batchSize, maxBatchDelay, responseTimeout, startupTimeout, "
       "defaultVersion}}}."}));
  rows.push_back(Boolean({"config_snapshots", kModels, "true",
                          "Whether the registered models are noted after every change and restored at the "
                          "next start. Also as --ncs: "
                          "not."},
                         [](AppOptions& o, bool on) { o.config_snapshots = on; }));
  rows.push_back(Text(
      {"snapshot_folder", kModels, "",
       "Where they are noted. Empty: config in $LOG_LOCATION if that is set, else .snapshots in the model "
       "store."},
      "FOLDER", [](AppOptions& o, std::string_view text) { o.management_api.snapshot_folder = text; }));
  rows.push_back(Text({"model_snapshot", kModels, "",
                       "The JSON text of a snapshot: it alone decides what is loaded at start."},
                      "JSON", [](AppOptions& o, std::string_view text) { o.model_snapshot = text; }));
  rows.push_back(Text({"traffic_sticky_header", kModels, "X-Sticky-Key",
                       "Header whose value keeps a client on one version while requests are divided, unless "
                       "the plan of the model names another one. Empty: none."},
                      "NAME", [](AppOptions& o, std::string_view text) { o.traffic.sticky_header = text; }));
  rows.push_back(Number({"traffic_shadow_backlog", kModels, "256",
                         "Copies of requests for shadow versions that wait or run; more are dropped."},
                        "N", 1, 1'000'000, [](AppOptions& o, std::int64_t n) {
                          o.traffic.shadow_backlog = static_cast<std::size_t>(n);
                        }));
  rows.push_back(Size({"traffic_shadow_max_body_size", kModels, "1m",
                       "A request with a larger body is not copied for a shadow version."},
                      0, 1LL << 40, [](AppOptions& o, std::int64_t n) {
                        o.traffic.shadow_max_body_bytes = static_cast<std::uint64_t>(n);
                      }));
  rows.push_back(Number({"traffic_rule_interval", kModels, "1000",
                         "How often the rules that promote versions look at the counters."},
                        "MS", 10, 3'600'000,
                        [](AppOptions& o, std::int64_t n) { o.traffic.rule_interval = milliseconds(n); }));
  rows.push_back(Followed({"follow", kModels, "",
                           "Models whose version follows an alias of a model registry: "
                           "models:/NAME@ALIAS, with commas between them."}));
  rows.push_back(Number({"follow_interval", kModels, "10000", "How often the aliases are looked at."}, "MS",
                        100, 86'400'000,
                        [](AppOptions& o, std::int64_t n) { o.follow.interval = milliseconds(n); }));
  rows.push_back(Number({"follow_canary", kModels, "0",
                         "What a new version gets until a rule decides about it. 0: all at once."},
                        "PERCENT", 0, 99, [](AppOptions& o, std::int64_t n) {
                          o.follow.canary_percent = static_cast<int>(n);
                        }));
  rows.push_back(Number(
      {"follow_promote_after", kModels, "500", "Requests that it must answer until that rule decides."}, "N",
      1, 1'000'000'000, [](AppOptions& o, std::int64_t n) { o.follow.promote_after = static_cast<int>(n); }));
  rows.push_back(Expressions({"allowed_urls", kModels, "",
                              "Where archives may be fetched from: regular expressions of whole URLs (http, "
                              "https, file, s3, gs, models:/…, runs:/…, mlflow-artifacts:/…) with commas "
                              "between them. Empty: nowhere."}));
  rows.push_back(Size({"max_download_size", kModels, "8g", "What a fetched archive may have."}, 1, 1LL << 40,
                      [](AppOptions& o, std::int64_t n) {
                        o.management_api.max_download_bytes = static_cast<std::uint64_t>(n);
                      }));
  rows.push_back(
      Number({"download_timeout", kModels, "600", "How long fetching an archive may take."}, "SECONDS", 1,
             86'400, [](AppOptions& o, std::int64_t n) { o.management_api.download_timeout = seconds(n); }));
  rows.push_back(Number(
      {"download_connections", kModels, "4", "Ranges of one large file that are fetched at once."}, "NUMBER",
      1, 64,
      [](AppOptions& o, std::int64_t n) { o.management_api.download_connections = static_cast<int>(n); }));
  rows.push_back(Text(
      {"source_cache", kModels, "",
       "Where models of s3, gs and MLflow are kept, by their content; several servers may share it. Empty: "
       ".cache in the model store."},
      "FOLDER", [](AppOptions& o, std::string_view text) { o.management_api.source_cache = text; }));
  rows.push_back(Size({"source_cache_size", kModels, "20g",
                       "Above it, what was not used for the longest time goes; what is served stays. 0: no "
                       "limit."},
                      0, 1LL << 50, [](AppOptions& o, std::int64_t n) {
                        o.management_api.source_cache_bytes = static_cast<std::uint64_t>(n);
                      }));
  rows.push_back(Number({"unregister_model_timeout", kModels, "120",
                         "How long removing a model waits for the requests that it accepted."},
                        "SECONDS", 1, 86'400, [](AppOptions& o, std::int64_t n) {
                          o.management_api.unregister_timeout = seconds(n);
                        }));
  rows.push_back(
      Choice({"enable_model_api", kModels, "auto",
              "Whether the management API registers and removes models. auto: only while it listens on "
              "loopback."},
             {"auto", "true", "false"},
             [](AppOptions& o, std::size_t choice) { o.management_api.allow_model_api = choice != 2; }));
  rows.back().is_boolean = true;
  rows.push_back(
      Number({"default_workers_per_model", kModels, "0",
              "Workers of a model. 0: planned from the CPUs for models that are loaded at start, none "
              "for a register call."},
             "N", 0, 1024, [](AppOptions& o, std::int64_t n) {
               o.start_workers = static_cast<int>(n);
               o.management_api.default_workers = static_cast<int>(n);
             }));
  rows.push_back(
      Text({"unpack_folder", kModels, "",
            "Archives are unpacked in a folder below this one. Empty: the system's folder for temporary "
            "files."},
           "FOLDER", [](AppOptions& o, std::string_view text) { o.management_api.unpack_folder = text; }));
  rows.push_back(Size(
      {"max_archive_size", kModels, "8g", "What the files of one archive may take, unpacked."}, 1, 1LL << 40,
      [](AppOptions& o, std::int64_t n) { o.max_archive_bytes = static_cast<std::uint64_t>(n); }));

  rows.push_back(Number(
      {"job_queue_size", kBatching, "100", "Requests that may wait; one more is answered 503."}, "N", 1,
      1'000'000,
      [](AppOptions& o, std::int64_t n) { Defaults(o).scheduler.capacity = static_cast<std::size_t>(n); }));
  rows.push_back(Number({"batch_size", kBatching, "1", "Rows that are computed together at most."}, "N", 1,
                        100'000,
                        [](AppOptions& o, std::int64_t n) { Defaults(o).scheduler.batch_size = n; }));
  rows.push_back(
      Number({"max_batch_delay", kBatching, "0",
              "How long a request waits for company at most. 0: a free worker takes what is there, "
              "at most 3 % of a batch's time later."},
             "MS", 0, 600'000,
             [](AppOptions& o, std::int64_t n) { Defaults(o).scheduler.max_batch_delay = milliseconds(n); }));
  rows.push_back(
      Number({"inline_limit_us", kBatching, "400",
              "A batch that takes no longer runs on the I/O thread that read its requests. 0: never."},
             "US", 0, 100'000,
             [](AppOptions& o, std::int64_t n) { Defaults(o).inline_limit = std::chrono::microseconds(n); }));
  rows.push_back(Number(
      {"slow_worker_nice", kBatching, "10",
       "Nice value of the workers of models that take longer for one row: small models and I/O go "
       "before them. 0: all are equal."},
      "N", 0, 19, [](AppOptions& o, std::int64_t n) { Defaults(o).slow_worker_nice = static_cast<int>(n); }));
  rows.push_back(Number({"default_response_timeout", kBatching, "120",
                         "Deadline of a request that names none (X-Request-Timeout-Ms)."},
                        "SECONDS", 1, 86'400,
                        [](AppOptions& o, std::int64_t n) { Defaults(o).response_timeout = seconds(n); }));
  rows.push_back(Number(
      {"default_startup_timeout", kBatching, "120", "How long loading, checking and warming up may take."},
      "SECONDS", 1, 86'400, [](AppOptions& o, std::int64_t n) { Defaults(o).startup_timeout = seconds(n); }));

  rows.push_back(HeaderName({"ts_header_key_sequence_id", kBatching, "ts_request_sequence_id",
                             "Header that names the sequence of a request, for models with sequenceBatching; "
                             "the answer carries it too."},
                            &SequenceNames::id));
  rows.push_back(HeaderName({"ts_header_key_sequence_start", kBatching, "ts_request_sequence_start",
                             "Header that begins a sequence: true or false."},
                            &SequenceNames::start));
  rows.push_back(HeaderName({"ts_header_key_sequence_end", kBatching, "ts_request_sequence_end",
                             "Header that ends a sequence with its request: true or false."},
                            &SequenceNames::end));

  rows.push_back(Size(
      {"max_request_size", kLimits, "6553500", "Body of a request; a larger one is answered 413."}, 1,
      4LL << 30, [](AppOptions& o, std::int64_t n) { o.http.max_body_bytes = static_cast<std::size_t>(n); }));
  rows.push_back(Number(
      {"max_image_pixels", kLimits, "89478485",
       "Pixels of the pictures of one request together, for the handlers that decode pictures; more is "
       "answered 400 before anything is decoded. 0: no limit."},
      "N", 0, 1LL << 40, [](AppOptions& o, std::int64_t n) { Defaults(o).max_image_pixels = n; }));
  rows.push_back(Boolean({"limit_max_image_pixels", kLimits, "true", "false: as max_image_pixels=0."},
                         [](AppOptions& o, bool on) {
                           if (!on) Defaults(o).max_image_pixels = 0;
                         }));
  rows.push_back(
      Size({"max_header_size", kLimits, "16k", "Header of a request; a larger one is answered 431."}, 256,
           16LL << 20,
           [](AppOptions& o, std::int64_t n) { o.http.max_header_bytes = static_cast<std::size_t>(n); }));
  rows.push_back(
      Number({"max_connections", kLimits, "1024", "Open connections of one listener."}, "N", 1, 1'000'000,
             [](AppOptions& o, std::int64_t n) { o.http.max_connections = static_cast<std::size_t>(n); }));
  rows.push_back(Timeout(
      {"header_timeout_ms", kLimits, "10000", "From the first byte of a request to the end of its header."},
      &HttpLimits::header_timeout));
  rows.push_back(
      Timeout({"body_timeout_ms", kLimits, "60000", "From the end of the header to the end of the body."},
              &HttpLimits::body_timeout));
  rows.push_back(Timeout({"idle_timeout_ms", kLimits, "75000", "A kept connection without a request."},
                         &HttpLimits::idle_timeout));
  rows.push_back(Timeout({"write_timeout_ms", kLimits, "60000", "A client that does not read its answer."},
                         &HttpLimits::write_timeout));
  rows.push_back(Size(
      {"max_stream_backlog", kLimits, "1m",
       "Of one answer that is sent in parts: what its client has not read yet. Beyond it no more is made."},
      1, 1LL << 30,
      [](AppOptions& o, std::int64_t n) { o.http.max_stream_backlog = static_cast<std::size_t>(n); }));

  rows.push_back(Field({"cors_allowed_origin", kAnswers, "",
                        "Access-Control-Allow-Origin of every answer. With it, OPTIONS requests of browsers "
                        "(preflights) are answered 200."},
                       &HttpLimits::cors_allowed_origin));
  rows.push_back(Field(
      {"cors_allowed_methods", kAnswers, "", "Access-Control-Allow-Methods of every answer, as GET, POST."},
      &HttpLimits::cors_allowed_methods));
  rows.push_back(Field({"cors_allowed_headers", kAnswers, "",
                        "Access-Control-Allow-Headers of every answer, as Content-Type, Authorization."},
                       &HttpLimits::cors_allowed_headers));
  rows.push_back(Size({"gzip_response_min_size", kAnswers, "0",
                       "Answers of this size and more are sent as gzip to clients that accept it. 0: none."},
                      0, 1LL << 40, [](AppOptions& o, std::int64_t n) {
                        o.http.gzip_response_min_bytes = static_cast<std::size_t>(n);
                      }));

  rows.push_back(
      Number({"number_of_netty_threads", kThreads, "0",
              "I/O threads (the name is TorchServe's). 0: half of the CPUs that this process may use, at "
              "least 2 where there are 2."},
             "N", 0, 256, [](AppOptions& o, std::int64_t n) { o.io_threads = static_cast<int>(n); }));
  rows.push_back(Number({"intra_op_threads", kThreads, "0",
                         "Threads that compute one batch. 0: planned from the CPUs and the workers."},
                        "N", 0, 1024,
                        [](AppOptions& o, std::int64_t n) { o.intra_op_threads = static_cast<int>(n); }));
  rows.push_back(Choice(
      {"tuning", kThreads, "background",
       "Whether the fastest way to run a model is found by timing: before it is served (load), while it "
       "already answers (background), or never (off)."},
      {"off", "load", "background"},
      [](AppOptions& o, std::size_t choice) { Defaults(o).tuning = static_cast<TuningMode>(choice); }));
  rows.push_back(Choice(
      {"precision", kThreads, "fp32",
       "auto: bfloat16 where it is faster and the outputs agree within 5 %. bf16: even where it is slower."},
      {"fp32", "auto", "bf16"},
      [](AppOptions& o, std::size_t choice) { Defaults(o).precision = static_cast<Precision>(choice); }));
  rows.push_back(Number(
      {"tuning_budget_ms", kThreads, "20000", "How long the ways to run one model are timed."}, "MS", 1,
      3'600'000, [](AppOptions& o, std::int64_t n) { o.tuning_budget = std::chrono::milliseconds(n); }));
  rows.push_back(
      Text({"tuning_folder", kThreads, "",
            "Where results of tuning are kept, so that the next start needs none. Empty: .tuning in the "
            "model store."},
           "DIR", [](AppOptions& o, std::string_view text) { o.tuning_folder = text; }));
  rows.push_back(Number({"autoscale_queue_time_ms", kThreads, "100",
                         "A worker is added, up to max_worker, when a request would wait longer. 0: never."},
                        "MS", 0, 3'600'000,
                        [](AppOptions& o, std::int64_t n) { o.autoscale.high = milliseconds(n); }));
  rows.push_back(Number({"autoscale_calm_ms", kThreads, "30000",
                         "A worker goes, down to min_worker, after so long without waiting."},
                        "MS", 1, 86'400'000,
                        [](AppOptions& o, std::int64_t n) { o.autoscale.calm = milliseconds(n); }));
  rows.push_back(Number({"management_threads", kThreads, "2", "Management calls that run at the same time."},
                        "N", 1, 64,
                        [](AppOptions& o, std::int64_t n) { o.management_threads = static_cast<int>(n); }));

  rows.push_back(Boolean({"enable_metrics_api", kMetrics, "true", "Whether /metrics is served."},
                         [](AppOptions& o, bool on) { o.metrics_listener = on; }));
  rows.push_back(
      Choice({"metrics_mode", kMetrics, "log",
              "prometheus and legacy add those of TorchServe's names that are not in base units, such as "
              "ts_inference_latency_microseconds. Unlike TorchServe's, /metrics is full in every mode."},
             {"log", "prometheus", "legacy"}, [](AppOptions& o, std::size_t choice) {
               o.torchserve_metric_names = choice != 0;
               o.metric_lines = choice != 1;
             }));
  rows.push_back(Text({"metrics_config", kMetrics, "",
                       "A metrics.yaml: which of TorchServe's metrics are exported, with which units and "
                       "dimensions. Empty: all."},
                      "FILE", [](AppOptions& o, std::string_view text) { o.metrics_config = text; }));
  rows.push_back(
      Number({"metric_time_interval", kMetrics, "60",
              "How often TorchServe's gauges are taken and, with log files, the metrics are logged."},
             "SECONDS", 1, 86'400, [](AppOptions& o, std::int64_t n) { o.metric_time = seconds(n); }));
  rows.push_back(Boolean({"disable_system_metrics", kMetrics, "false",
                          "true: without CPUUtilization, MemoryUsed, DiskUsage … of the machine."},
                         [](AppOptions& o, bool on) { o.system_metrics = !on; }));

  rows.push_back(
      Choice({"log_level", kLogs, "info", "The least that is logged."}, {"debug", "info", "warning", "error"},
             [](AppOptions& o, std::size_t choice) { o.log.level = static_cast<LogLevel>(choice); }));
  rows.push_back(
      Choice({"log_format", kLogs, "text", "json: one object a line, with time, severity and message."},
             {"text", "json"},
             [](AppOptions& o, std::size_t choice) { o.log.format = static_cast<LogFormat>(choice); }));
  rows.push_back(Text({"log_file", kLogs, "", "Server log. Empty: standard error."}, "FILE",
                      [](AppOptions& o, std::string_view text) { o.log.file = text; }));
  rows.push_back(Boolean({"access_log", kLogs, "true", "One line for each answered request."},
                         [](AppOptions& o, bool on) { o.log.access_log = on; }));
  rows.push_back(Text({"access_log_file", kLogs, "", "Access log. Empty: standard output."}, "FILE",
                      [](AppOptions& o, std::string_view text) { o.log.access_file = text; }));
  rows.push_back(Choice(
      {"log_files", kLogs, "auto",
       "TorchServe's log files, besides standard output and error: access_log.log, ts_log.log, "
       "model_log.log, "
       "ts_metrics.log, model_metrics.log. auto: when log_location or metrics_location is set."},
      {"auto", "true", "false"},
      [](AppOptions& o, std::size_t choice) { o.log_files = static_cast<AppOptions::LogFiles>(choice); }));
  rows.back().is_boolean = true;
  rows.push_back(Text({"log_location", kLogs, "",
                       "Folder of the first three; it is made. Also as $LOG_LOCATION. Empty: logs in the "
                       "working folder."},
                      "FOLDER", [](AppOptions& o, std::string_view text) { o.log.folder = text; }));
  rows.push_back(Text(
      {"metrics_location", kLogs, "",
       "Folder of the last two; it is made. Also as $METRICS_LOCATION. Empty: logs in the working folder."},
      "FOLDER", [](AppOptions& o, std::string_view text) { o.log.metrics_folder = text; }));
  rows.push_back(
      Size({"log_file_size", kLogs, "100m",
            "One of these files that has grown so large is renamed to NAME.1, that one to NAME.2 …"},
           1024, 1LL << 40,
           [](AppOptions& o, std::int64_t n) { o.log.rotate_bytes = static_cast<std::uint64_t>(n); }));
  rows.push_back(Number({"log_files_kept", kLogs, "5", "How many renamed ones are kept of each."}, "N", 0,
                        1000,
                        [](AppOptions& o, std::int64_t n) { o.log.rotated_kept = static_cast<int>(n); }));

  rows.push_back(Number({"trusted_proxies", kLogs, "0",
                         "How many proxies in front of the server add to X-Forwarded-For: which of its "
                         "addresses JSON lines name "
                         "as the client's. 0: the connection's. On Cloud Run 1."},
                        "N", 0, 16,
                        [](AppOptions& o, std::int64_t n) { o.http.trusted_proxies = static_cast<int>(n); }));
  rows.push_back(Project({"trace_project", kLogs, "",
                          "Google Cloud project that JSON lines name beside the trace. Also as "
                          "$GOOGLE_CLOUD_PROJECT. Empty: they have the plain trace_id."}));

  rows.push_back(TraceEndpoint(
      {"trace_endpoint", kTraces, "",
       "Where spans are sent (OTLP over HTTP, JSON), as http://localhost:4318/v1/traces. Also as "
       "$OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, or $OTEL_EXPORTER_OTLP_ENDPOINT without /v1/traces. Empty: "
       "none."}));
  rows.push_back(Pairs({"trace_headers", kTraces, "",
                        "Header fields of these calls, a collector's key. $OTEL_EXPORTER_OTLP_HEADERS."},
                       &TraceExport::headers));
  rows.back().is_secret = true;
  rows.push_back(Choice({"trace_compression", kTraces, "none",
                         "Whether the bodies of these calls are packed. $OTEL_EXPORTER_OTLP_COMPRESSION."},
                        {"none", "gzip"},
                        [](AppOptions& o, std::size_t choice) { o.trace_export.gzip = choice == 1; }));
  rows.push_back(Number({"trace_timeout_ms", kTraces, "10000", "Of one call. $OTEL_EXPORTER_OTLP_TIMEOUT."},
                        "MS", 1, 3'600'000,
                        [](AppOptions& o, std::int64_t n) { o.trace_export.timeout = milliseconds(n); }));
  rows.push_back(Number(
      {"trace_interval_ms", kTraces, "1000", "How often spans are sent; many of them are sent at once."},
      "MS", 10, 3'600'000, [](AppOptions& o, std::int64_t n) { o.trace_export.interval = milliseconds(n); }));
  rows.push_back(Number({"trace_queue_size", kTraces, "2048",
                         "Recorded requests that may wait to be sent; more are dropped and counted."},
                        "N", 1, 1'000'000, [](AppOptions& o, std::int64_t n) {
                          o.trace_export.queue = static_cast<std::size_t>(n);
                        }));
  rows.push_back(Choice(
      {"trace_sampler", kTraces, "parentbased_always_on",
       "Which requests are recorded. parentbased_…: as the caller's traceparent says, the rest for requests "
       "without one. $OTEL_TRACES_SAMPLER."},
      {"always_on", "always_off", "traceidratio", "parentbased_always_on", "parentbased_always_off",
       "parentbased_traceidratio"},
      [](AppOptions& o, std::size_t choice) {
        o.trace_sampling.sampler = static_cast<TraceSampler>(choice);
      }));
  rows.push_back(Ratio({"trace_ratio", kTraces, "1",
                        "The part of the requests that …traceidratio records. $OTEL_TRACES_SAMPLER_ARG."}));
  rows.push_back(Text({"trace_service_name", kTraces, "",
                       "service.name of the spans. $OTEL_SERVICE_NAME. Empty: $K_SERVICE, else flambeau."},
                      "TEXT",
                      [](AppOptions& o, std::string_view text) { o.trace_export.service_name = text; }));
  rows.push_back(Pairs({"trace_resource", kTraces, "",
                        "More attributes of this server, as deployment.environment.name=production. "
                        "$OTEL_RESOURCE_ATTRIBUTES."},
                       &TraceExport::resource));

  rows.push_back(
      Number({"grace", kProgram, "10",
              "How long accepted requests may take after SIGTERM or SIGINT. The same signal again ends at "
              "once."},
             "SECONDS", 0, 3'600, [](AppOptions& o, std::int64_t n) { o.grace = seconds(n); }));
  return rows;
}

}  // namespace

const std::vector<Setting>& Settings() {
  static const std::vector<Setting> settings = MakeSettings();
  return settings;
}

const Setting* FindSetting(std::string_view key) {
  for (const Setting& setting : Settings()) {
    if (setting.key == key) return &setting;
  }
  return nullptr;
}

}  // namespace serve
