#include "trainer/tracking/flags.h"

namespace serve::trainer {
namespace {

/// KEY=VALUE texts into tags.
CLI::Option* AddTags(CLI::App& command, const char* flag, MlflowTags& tags, const char* what) {
  return command
      .add_option_function<std::vector<std::string>>(
          flag,
          [&tags, flag](const std::vector<std::string>& texts) {
            for (const std::string& text : texts) {
              const std::size_t equal = text.find('=');
              if (equal == 0 || equal == std::string::npos)
                throw CLI::ValidationError(flag, text + ": expected KEY=VALUE");
              tags[text.substr(0, equal)] = text.substr(equal + 1);
            }
          },
          what)
      ->allow_extra_args(false)
      ->type_name("KEY=VALUE");
}

}  // namespace

void AddTrackingFlags(CLI::App& command, TrackingOptions& options, const std::string& experiment) {
  options.experiment = experiment;
  const std::string group = "Tracking";
  command
      .add_option("--tracking-uri", options.uri, "MLflow server that the run is sent to [none: files only]")
      ->envname("MLFLOW_TRACKING_URI")
      ->type_name("URL")
      ->group(group);
  command.add_option("--experiment", options.experiment, "Name of the experiment")
      ->envname("MLFLOW_EXPERIMENT_NAME")
      ->capture_default_str()
      ->group(group);
  command.add_option("--run-name", options.run_name, "Name of the run")->group(group);
  command.add_option("--runs", options.runs, "Folder where runs are written to")
      ->envname("FLAMBEAU_RUNS")
      ->type_name("FOLDER")
      ->capture_default_str()
      ->group(group);
  AddTags(command, "--tag", options.tags, "Tag of the run; repeat")->group(group);
  CLI::Option* off = command.add_flag("--no-tracking", options.off, "Write no run")->group(group);
  CLI::Option* sweep = command
                           .add_option("--sweep", options.sweep,
                                       "YAML file of flags with lists of values: train every combination")
                           ->type_name("FILE")
                           ->excludes(off)
                           ->group(group);
  command.add_option("--sweep-metric", options.sweep_metric, "Metric that chooses the best of a sweep")
      ->capture_default_str()
      ->needs(sweep)
      ->group(group);
  command.add_flag("--require-tracking", options.required, "Fail when the run could not be sent")
      ->group(group);
  command.add_option("--result", options.result, "JSON file for scripts: run, version, metrics")
      ->type_name("FILE")
      ->group(group);
  RunRegistration& registration = options.registration;
  CLI::Option* model = command
                           .add_option("--register-model", registration.model,
                                       "Register the archive as a version of this model of the registry")
                           ->type_name("NAME")
                           ->group(group);
  command.add_option("--alias", registration.aliases, "Alias for that version, e.g. candidate; repeat")
      ->allow_extra_args(false)
      ->needs(model)
      ->group(group);
  AddTags(command, "--model-tag", registration.tags, "Tag of that version; repeat")
      ->needs(model)
      ->group(group);
  command.add_option("--model-description", registration.description, "Description of that version")
      ->needs(model)
      ->group(group);
}

}  // namespace serve::trainer
