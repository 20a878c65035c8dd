#include "follower/control/type_fetcher.hpp"

#include <utility>

namespace backplane {

TypeFetcher::TypeFetcher(PayloadJson& payloads, Request request, Options options)
    : payloads_(payloads), request_(std::move(request)), options_(std::move(options)) {}

TypeFetcher::TypeFetcher(PayloadJson& payloads, Request request)
    : TypeFetcher(payloads, std::move(request), Options{}) {}

bool TypeFetcher::turn(Clock::time_point now) {
  if (now >= retry_at_) {
    retry_at_ = now + options_.retry_interval;
    payloads_.retry_unknown_types();
  }
  if (pending_ || !payloads_.has_unknown_types()) return false;
  pending_ = true;
  added_ = false;
  request_(payloads_.take_unknown_types(), [this, alive = alive_.token()](const Result<TypesReply>& reply) {
    if (!alive.expired()) on_reply(reply);
  });
  return added_;
}

void TypeFetcher::on_reply(const Result<TypesReply>& reply) {
  pending_ = false;
  if (!reply || reply->files.empty()) return;
  const auto added = payloads_.add_types(reply->files);
  added_ = added.refusal == TypeRegistry::Refusal::none;
  if (!added_ && options_.on_invalid_types) options_.on_invalid_types(added.text);
}

}  // namespace backplane
