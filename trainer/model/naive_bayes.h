#pragma once

#include <cstddef>

#include "trainer/data/features.h"
#include "trainer/model/linear_text_model.h"

namespace serve::trainer {

/// Complement naive Bayes as a linear model: where training starts and what it is held close to.
///
/// With N[t, c] the weight of term t in all texts of class c, and C[t, c] = Σ over the other classes of N[t,
/// ·] + smoothing:  weight[t, c] = -ln(C[t, c] / Σ over t of C[t, c]), less its mean over the classes; no
/// bias. Source: Rennie and others, "Tackling the Poor Assumptions of Naive Bayes Text Classifiers" (2003).
LinearTextModel ComplementNaiveBayes(const LabelledBags& data, std::size_t terms, std::size_t classes,
                                     double smoothing);

}  // namespace serve::trainer
