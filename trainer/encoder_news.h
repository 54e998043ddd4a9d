#pragma once

#include "trainer/news.h"

namespace serve::trainer {

/// `flambeau-train news --encoder FILE`: a head (softmax regression) on a sentence encoder that is not
/// changed. Reads, splits and judges as RunNews does; the archive holds encoder and head as one module, with
/// the encoder's vocabulary. Of the options those count that RunNews has for data, archive and registration,
/// class_weights, and those of the encoder; all rows are in memory. Answers with the exit code. Ctrl-C ends
/// it without an archive: encoding is most of the time.
int RunEncoderNews(const NewsOptions& options, const Streams& streams);

}  // namespace serve::trainer
