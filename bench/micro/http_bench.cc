#include <benchmark/benchmark.h>
#include <string_view>

#include "serve/base/random_id.h"
#include "serve/http/head_parser.h"
#include "serve/http/router.h"

namespace serve {
namespace {

constexpr std::string_view kHead =
    "POST /predictions/news/2.0 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: client/1.0\r\nAccept: */*\r\n"
    "Content-Type: application/json\r\nContent-Length: 320\r\n\r\n";

/// The header block of a prediction, into a request whose memory is used again as a connection does.
void ParseHead(benchmark::State& state) {
  const HttpLimits limits;
  HttpRequest request;
  for (auto _ : state) {
    request.Clear();
    request.head.assign(kHead.begin(), kHead.end());
    const Status status = HeadParser(request, limits).ParseHead();
    if (!status.ok()) state.SkipWithError(status.message.c_str());
    benchmark::DoNotOptimize(request);
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(kHead.size()));
}
BENCHMARK(ParseHead);

/// Path → route among as many routes as the inference listener has.
void FindRoute(benchmark::State& state) {
  Router router;
  const auto nothing = [](HttpRequest&) { return HttpReply(); };
  for (const char* pattern :
       {"/ping", "/metrics", "/api-description", "/models/{model}/{version}", "/models/{model}"}) {
    router.Inline(Method::kGet, pattern, nothing);
  }
  for (const char* pattern : {"/predictions/{model}", "/predictions/{model}/{version}", "/invocations",
                              "/v1/models/{model}", "/models/{model}/invoke"}) {
    router.Inline(Method::kPost, pattern, nothing);
  }
  const HttpLimits limits;
  HttpRequest request;
  request.head.assign(kHead.begin(), kHead.end());
  if (!HeadParser(request, limits).ParseHead().ok()) state.SkipWithError("the head was refused");
  for (auto _ : state) {
    const Router::Found found = router.Find(request);
    if (found.route == nullptr) state.SkipWithError("no route");
    benchmark::DoNotOptimize(found.route);
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(FindRoute);

/// Status line and fields of an answer.
void WriteHead(benchmark::State& state) {
  HttpReply reply;
  std::string out;
  for (auto _ : state) {
    out.clear();
    AppendHead(out, reply, "0123456789abcdef0123456789abcdef", 80, false, false);
    benchmark::DoNotOptimize(out.data());
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(WriteHead);

void MakeRequestId(benchmark::State& state) {
  std::string out;
  for (auto _ : state) {
    out.clear();
    AppendRandomId(out);
    benchmark::DoNotOptimize(out.data());
  }
}
BENCHMARK(MakeRequestId);

}  // namespace
}  // namespace serve
