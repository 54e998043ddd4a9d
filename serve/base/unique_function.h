#pragma once

#include <memory>
#include <type_traits>
#include <utility>

namespace serve {

template <class Signature>
class UniqueFunction;

/// A callable that is moved, never copied (std::function cannot hold a Responder or a unique_ptr).
template <class R, class... Args>
class UniqueFunction<R(Args...)> {
 public:
  UniqueFunction() = default;
  UniqueFunction(std::nullptr_t) {}  // NOLINT(google-explicit-constructor)
  template <class F>
  requires(!std::is_same_v<std::decay_t<F>, UniqueFunction> && std::is_invocable_r_v<R, F&, Args...>)
      UniqueFunction(F&& function)  // NOLINT(google-explicit-constructor)
      : holder_(std::make_unique<Holder<std::decay_t<F>>>(std::forward<F>(function))) {}

  explicit operator bool() const { return holder_ != nullptr; }
  R operator()(Args... args) { return holder_->Call(std::forward<Args>(args)...); }

 private:
  struct Base {
    virtual ~Base() = default;
    virtual R Call(Args&&... args) = 0;
  };
  template <class F>
  struct Holder final : Base {
    explicit Holder(F function) : function_(std::move(function)) {}
    R Call(Args&&... args) override { return function_(std::forward<Args>(args)...); }
    F function_;
  };
  std::unique_ptr<Base> holder_;
};

}  // namespace serve
