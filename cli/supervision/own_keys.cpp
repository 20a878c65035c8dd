#include "cli/supervision/own_keys.hpp"

#include <filesystem>
#include <memory>
#include <utility>

#include <fmt/format.h>

#include "core/credentials/key_file.hpp"
#include "core/log/escape.hpp"

namespace backplane::cli {
namespace {

/// The user whom the programs are.
Result<void> check_user(const broker::BrokerConfig& config) {
  const broker::Admission& admission = config.admission;
  const PublicKey key = admission.key->public_key();
  const policy::User* const user = admission.policy->user_of_key(key);
  if (user == nullptr) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}: expected a user with the public key of {}, with which the gateway and the "
                            "publishers of `up` connect (curve = \"{}\"), got none",
                            admission.policy_place, log::escape(admission.key_file), to_text(key)));
  }
  for (const broker::BackplaneConfig& backplane : config.backplanes) {
    for (const std::string& topics : backplane.egress_topics) {
      const auto pattern = Pattern::parse(topics);
      if (!pattern || admission.policy->visibility(*user, *pattern) == policy::Visibility::all) continue;
      return fail(ErrorCode::invalid_argument,
                  fmt::format("{}: expected a role of user {}, who has the key in {}, with subscribe = "
                              "[\"{}\"], because the gateway of `up` reads everything; got none",
                              admission.policy_place, user->name, log::escape(admission.key_file), topics));
    }
  }
  if (!user->admin) {
    return fail(
        ErrorCode::invalid_argument,
        fmt::format("{}: expected a role of user {}, who has the key in {}, with admin = true, because "
                    "`up` reads the broker's statistics; got none",
                    admission.policy_place, user->name, log::escape(admission.key_file)));
  }
  return {};
}

}  // namespace

Result<mq::SharedKeys> own_keys(const broker::BrokerConfig& broker, std::string server_key_file,
                                std::string_view server_key_place) {
  const broker::Admission& admission = broker.admission;
  if (auto good = broker::check_admission(admission); !good) return tl::unexpected(good.error());
  if (!admission.required()) {
    if (server_key_file.empty()) return mq::SharedKeys();
    return fail(
        ErrorCode::invalid_argument,
        fmt::format("{}: expected policy and key with it, because `up` runs the broker itself, got none",
                    server_key_place));
  }
  std::string place(server_key_place);
  if (server_key_file.empty()) {
    server_key_file = std::filesystem::path(admission.key_file).replace_extension(".pub").string();
    place = admission.key_place;
  }
  const auto server_key = read_public_key(server_key_file);
  if (!server_key)
    return fail(ErrorCode::invalid_argument, fmt::format("{}: {}", place, server_key.error().text));
  if (*server_key != admission.key->public_key()) {
    return fail(
        ErrorCode::invalid_argument,
        fmt::format("{}: expected the public key of {}, because `up` runs the broker itself, got another "
                    "one in {}",
                    place, log::escape(admission.key_file), log::escape(server_key_file)));
  }
  if (auto good = check_user(broker); !good) return tl::unexpected(good.error());
  auto keys = std::make_shared<mq::ClientKeys>();
  keys->curve = {admission.key->bytes(), server_key->bytes, server_key->bytes};
  keys->files = {admission.key_file, std::move(server_key_file)};
  return mq::SharedKeys(std::move(keys));
}

}  // namespace backplane::cli
