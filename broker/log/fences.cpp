#include "broker/log/fences.hpp"

#include <utility>

namespace backplane::broker {

Fences::Verdict Fences::pass(const BatchHeader& header, std::uint64_t replaces) {
  const auto found = members_.find(header.broker);
  const std::uint64_t current = found == members_.end() ? 0 : found->second.incarnation;
  if (header.number == 0 && header.incarnation != current) {
    // A late copy of an old join replaces an incarnation that is no longer the current one.
    if (replaces != current) return Verdict::fenced;
    members_[std::string(header.broker)] = {header.incarnation, 0, false};
    return Verdict::apply;
  }
  if (found == members_.end() || header.incarnation != current) return Verdict::fenced;
  Member& member = found->second;
  if (header.number <= member.number) return Verdict::duplicate;
  if (header.number > member.number + 1) return Verdict::hole;
  member.number = header.number;
  return Verdict::apply;
}

void Fences::leave(std::string_view broker) {
  if (const auto found = members_.find(broker); found != members_.end()) found->second.has_left = true;
}

std::uint64_t Fences::incarnation_of(std::string_view broker) const {
  const auto found = members_.find(broker);
  return found == members_.end() ? 0 : found->second.incarnation;
}

}  // namespace backplane::broker
