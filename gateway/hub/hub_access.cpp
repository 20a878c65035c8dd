// The policy: who clients are, and what they may do.
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "core/error/error.hpp"
#include "gateway/hub/hub_state.hpp"

namespace backplane::gateway {

using policy::Visibility;

void Hub::use_policy(std::shared_ptr<const policy::Policy> policy, const AccessServices& services) {
  CHECK(clients_.empty(), "a policy is there before the first client");
  permissions_.emplace(std::move(policy));
  access_.emplace(services);
}

void Hub::change_policy(std::shared_ptr<const policy::Policy> policy) {
  permissions_->set_policy(std::move(policy));
  std::vector<Client*> revoked;
  for (auto& [id, client] : clients_) {
    Access& access = *client.access;
    const policy::User* const user = permissions_->find(access.identity);
    // Those that are disconnected have the rights of anonymous until they are gone.
    const bool stays = user != nullptr && become(client, access.identity, *user);
    if (!stays) revoked.push_back(&client);
  }
  for (Client* const client : revoked) revoke(*client);
}

// ---- decisions ----

/// Counts the decision, and logs a refusal.
std::optional<AccessRefusal> Hub::check_read(const Client& client, Action action, const Pattern& pattern) {
  if (!client.access) return std::nullopt;
  if (client.access->view->visibility(pattern) != Visibility::none) {
    access_->counters.decision(action, true);
    return std::nullopt;
  }
  return refuse_access(client, action,
                       fmt::format("{} {}", action == Action::list ? "list" : "subscribe to", pattern.str()));
}

AccessRefusal Hub::check_publish(fanout::ClientId id, std::string_view topic) {
  const Client* const client = find(id);
  if (client == nullptr) {
    // It has left. Its rights are unknown by now.
    if (!permissions_) return {};
    access_->counters.decision(Action::publish, false);
    return {not_permitted, "the client has left"};
  }
  if (!client->access) return {};
  if (permissions_->may_publish(*client->access->user, topic)) {
    access_->counters.decision(Action::publish, true);
    return {};
  }
  return refuse_access(*client, Action::publish, fmt::format("publish to {}", topic));
}

AccessRefusal Hub::refuse_access(const Client& client, Action action, std::string_view what) {
  const Access& access = *client.access;
  access_->counters.decision(action, false);
  if (refusal_log_.allow(now_)) {
    log::warning("policy: user {} at {} may not {}{}", access.user->name, access.peer.text, what,
                 refusal_log_.suppressed() > 0
                     ? fmt::format("; {} refusals before were not logged", refusal_log_.suppressed())
                     : "");
  }
  return refusal(access.user->name, access.user == &permissions_->anonymous(), what);
}

// ---- who a client is ----

void Hub::execute(Client& client, request::Identify& request, Clock::time_point) {
  if (!client.access) return;
  client.access->certificate = std::move(request.certificate);
  become_unproved(client);
}

/// Makes a client that has sent no token the user of its certificate, or anonymous.
void Hub::become_unproved(Client& client) {
  const std::string& certificate = client.access->certificate;
  const policy::User* const user =
      certificate.empty() ? nullptr : permissions_->user_of_certificate(certificate);
  const bool stays = user != nullptr
                         ? become(client, {Identity::Kind::certificate, user->name, certificate}, *user)
                         : become(client, {}, permissions_->anonymous());
  if (!stays) revoke(client);
}

void Hub::execute(Client& client, request::Authenticate& request, Clock::time_point now) {
  if (!client.access) return;  // sessions do not send it without a policy
  Access& access = *client.access;
  if (request.token.empty()) {
    become_unproved(client);
    return notify(client, [rights = permissions_->rights(*access.user)](Subscriber& subscriber) {
      subscriber.on_authenticated(rights, {}, {});
    });
  }
  const auto verdict = access_->authenticator.verify(
      request.token, access.peer.host, now,
      [&requests = access_->requests, id = client.id](const Authenticator::Verdict& later) {
        requests.put({id, request::Verified{later}});
      });
  if (verdict) return on_verdict(client, *verdict);
  access.authenticating = true;
}

void Hub::execute(Client& client, request::Verified& request, Clock::time_point) {
  if (!client.access || !client.access->authenticating) return;
  client.access->authenticating = false;
  on_verdict(client, request.verdict);
  if (!client.resuming) resume_deferred(client);
}

void Hub::on_verdict(Client& client, const Authenticator::Verdict& verdict) {
  Access& access = *client.access;
  AuthenticationResult result = verdict.result;
  Identity identity{Identity::Kind::token, verdict.user, verdict.hash};
  // The policy may have changed since the verification began.
  const policy::User* const user =
      result == AuthenticationResult::accepted ? permissions_->find(identity) : nullptr;
  if (result == AuthenticationResult::accepted && user == nullptr) result = AuthenticationResult::wrong;
  access_->counters.authentication(result);
  AccessRefusal refused;
  if (user == nullptr) {
    refused.code = not_authenticated;
    refused.text = result == AuthenticationResult::wrong ? "no user has this token"
                   : result == AuthenticationResult::throttled
                       ? fmt::format("too many wrong tokens from this address: try again in {} s",
                                     verdict.retry_after.count())
                       : "too many tokens wait to be verified: try again in 1 s";
    if (token_log_.allow(now_)) {
      log::warning("policy: a token from {} was not accepted: {}", access.peer.text, refused.text);
    }
  } else if (!become(client, std::move(identity), *user)) {
    return revoke(client);
  }
  notify(client, [rights = permissions_->rights(*access.user), refused = std::move(refused),
                  retry_after = verdict.retry_after](Subscriber& subscriber) {
    subscriber.on_authenticated(rights, refused, retry_after);
  });
}

/// Makes the client that user. Its subscriptions show what the user may read, if that is at least what they
/// have shown. @returns false if it is not: then the client is still who it was.
bool Hub::become(Client& client, Identity identity, const policy::User& user) {
  Access& access = *client.access;
  const ReadViewPtr view = permissions_->view(user);
  const bool keeps_all =
      view == access.view ||
      std::all_of(client.subscriptions.begin(), client.subscriptions.end(), [&](const auto& each) {
        return view->includes(*access.view, each.second.pattern->pattern);
      });
  if (!keeps_all) return false;
  access.identity = std::move(identity);
  access.user = &user;
  if (view == access.view) return true;
  access.view = view;
  for (auto& [pattern, subscription] : client.subscriptions) change_audience(subscription);
  change_prefix_audiences(client);
  return true;
}

/// Ends the client's session at once: it gets nothing more, and its requests are ignored.
void Hub::revoke(Client& client) {
  access_->counters.revoked();
  if (refusal_log_.allow(now_)) {
    log::warning("policy: user {} at {} is disconnected: its rights have ended",
                 client.access->identity.kind == Identity::Kind::anonymous ? policy::anonymous_name
                                                                           : client.access->identity.user,
                 client.access->peer.text);
  }
  const policy::User& anonymous = permissions_->anonymous();
  client.access->identity = {};
  client.access->user = &anonymous;
  client.access->view = permissions_->view(anonymous);
  notify(client, [](Subscriber& subscriber) { subscriber.say_goodbye("revoked"); });
  client.deferred.clear();
  client.leaving = true;
  while (!client.subscriptions.empty()) end(client.subscriptions.begin()->second);
  end_prefixes(client, /*left=*/false);
}

// ---- subscriptions ----

/// The view of the audience that the subscription belongs to.
ReadViewPtr Hub::audience_view(const Subscription& subscription) const {
  const Client& client = *subscription.client;
  if (!client.access) return nullptr;
  const bool all = client.access->view->visibility(subscription.pattern->pattern) == Visibility::all;
  return all ? nullptr : client.access->view;
}

/// The client's user may now read more: moves the subscription to the audience that shows it.
void Hub::change_audience(Subscription& subscription) {
  const ReadViewPtr view = audience_view(subscription);
  subscription.filtered = view != nullptr;
  Audience* const before = subscription.audience;
  if (before == nullptr || before->view == view) return;
  Backfill* const backfill = subscription.backfill.get();
  if (backfill != nullptr && backfill->buffered) {
    if (backfill->kind == Backfill::Kind::replay) {
      // As if the join buffer had been full: the replay goes on, and joins again when it has caught up.
      leave_audience(subscription, /*left=*/false);
      backfill->buffered = backfill->requested_buffered = false;
      return;
    }
    // Values that have been sent in part cannot start again. It shows what it did, until it is renewed.
    if (backfill->started) return;
  }
  subscription.audience = nullptr;
  join_audience(subscription, /*buffered=*/backfill != nullptr && backfill->buffered);
  outlet_.transfer_skips(subscription.client->id, before->id, subscription.audience->id);
  Audience* const now = std::exchange(subscription.audience, before);
  leave_audience(subscription, /*left=*/false);
  subscription.audience = now;
}

}  // namespace backplane::gateway
