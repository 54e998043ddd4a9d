#pragma once

#include <cstddef>
#include <vector>

#include "trainer/data/bag_chunks.h"
#include "trainer/model/linear_text_model.h"

namespace serve::trainer {

/// Complement naive Bayes as a linear model: where training starts and what it is held close to.
///
/// With N[t, c] the weight of term t in all texts of class c, and C[t, c] = Σ over the other classes of N[t,
/// ·] + smoothing:  weight[t, c] = -ln(C[t, c] / Σ over t of C[t, c]), less its mean over the classes; no
/// bias. `class_weights` multiply what the texts of a class count; empty: 1 each. Source: Rennie and others,
/// "Tackling the Poor Assumptions of Naive Bayes Text Classifiers" (2003).
LinearTextModel ComplementNaiveBayes(const BagChunks& data, std::size_t terms, std::size_t classes,
                                     double smoothing, const std::vector<double>& class_weights = {});

}  // namespace serve::trainer
