#include "trainer/model/evaluation.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace serve::trainer {
namespace {

double Share(std::size_t part, std::size_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

void ScoreClasses(Evaluation& evaluation) {
  const std::size_t classes = evaluation.confusion.size();
  for (std::size_t c = 0; c < classes; ++c) {
    ClassScores scores;
    std::size_t predicted = 0;
    for (std::size_t other = 0; other < classes; ++other) {
      scores.rows += evaluation.confusion[c][other];
      predicted += evaluation.confusion[other][c];
    }
    const std::size_t right = evaluation.confusion[c][c];
    scores.precision = Share(right, predicted);
    scores.recall = Share(right, scores.rows);
    scores.f1 = Share(2 * right, predicted + scores.rows);
    evaluation.macro_f1 += scores.f1 / static_cast<double>(classes);
    evaluation.classes.push_back(scores);
  }
}

}  // namespace

Evaluation Evaluate(const LinearTextModel& model, const BagChunks& data) {
  Evaluation evaluation;
  evaluation.rows = data.rows();
  evaluation.confusion.assign(model.classes, std::vector<std::size_t>(model.classes));
  std::size_t right = 0;
  data.ForEach([&](const LabelledBags& chunk) {
    std::vector<double> probabilities = Logits(model, chunk.bags);
    Softmax(probabilities, model.classes);
    for (std::size_t text = 0; text < chunk.labels.size(); ++text) {
      const double* const row = probabilities.data() + text * model.classes;
      const auto label = static_cast<std::size_t>(chunk.labels[text]);
      const auto best = static_cast<std::size_t>(std::max_element(row, row + model.classes) - row);
      ++evaluation.confusion[label][best];
      right += best == label ? 1 : 0;
      evaluation.log_loss -= std::log(std::max(row[label], 1e-300)) / static_cast<double>(evaluation.rows);
    }
  });
  evaluation.accuracy = Share(right, evaluation.rows);
  ScoreClasses(evaluation);
  return evaluation;
}

std::string EvaluationText(const Evaluation& evaluation, const std::vector<std::string>& labels) {
  std::size_t width = 5;
  for (const std::string& label : labels) width = std::max(width, label.size());
  std::string text = fmt::format("{:<{}}  {:>9}  {:>9}  {:>9}  {:>7}\n", "class", width, "precision",
                                 "recall", "f1", "rows");
  for (std::size_t c = 0; c < labels.size(); ++c) {
    const ClassScores& scores = evaluation.classes[c];
    text += fmt::format("{:<{}}  {:>9.3f}  {:>9.3f}  {:>9.3f}  {:>7}\n", labels[c], width, scores.precision,
                        scores.recall, scores.f1, scores.rows);
  }
  text += "\nconfusion (rows: true class, columns: predicted)\n";
  text += fmt::format("{:<{}}", "", width);
  for (const std::string& label : labels)
    text += fmt::format("  {:>{}}", label, std::max<std::size_t>(label.size(), 6));
  text += '\n';
  for (std::size_t c = 0; c < labels.size(); ++c) {
    text += fmt::format("{:<{}}", labels[c], width);
    for (std::size_t other = 0; other < labels.size(); ++other) {
      text += fmt::format("  {:>{}}", evaluation.confusion[c][other],
                          std::max<std::size_t>(labels[other].size(), 6));
    }
    text += '\n';
  }
  text += fmt::format("\naccuracy {:.4f} on {} rows, log loss {:.4f}\n", evaluation.accuracy, evaluation.rows,
                      evaluation.log_loss);
  return text;
}

nlohmann::ordered_json EvaluationJson(const Evaluation& evaluation, const std::vector<std::string>& labels) {
  nlohmann::ordered_json json = {{"rows", evaluation.rows},
                                 {"accuracy", evaluation.accuracy},
                                 {"macro_f1", evaluation.macro_f1},
                                 {"log_loss", evaluation.log_loss},
                                 {"labels", labels},
                                 {"per_class", nlohmann::ordered_json::array()},
                                 {"confusion_matrix", evaluation.confusion}};
  for (std::size_t c = 0; c < labels.size(); ++c) {
    const ClassScores& scores = evaluation.classes[c];
    json["per_class"].push_back({{"label", labels[c]},
                                 {"rows", scores.rows},
                                 {"precision", scores.precision},
                                 {"recall", scores.recall},
                                 {"f1", scores.f1}});
  }
  return json;
}

}  // namespace serve::trainer
