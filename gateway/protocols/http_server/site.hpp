#pragma once
// Options, pages and access rules that all HTTP clients of one backplane share.

#include <chrono>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/access/rights.hpp"
#include "gateway/protocols/http/counters.hpp"
#include "gateway/protocols/http/request_reader.hpp"

namespace backplane::gateway::http {

struct SiteOptions {
  RequestReader::Limits limits;
  std::chrono::milliseconds request_timeout{
      30'000};                            ///< from the first byte of a request to its last; 0: unlimited
  std::vector<std::string> hosts;         ///< names of this gateway besides those of the loopback
  std::vector<std::string> cors_origins;  ///< as browsers send them: `https://example.org`
  /// Whether the gateway has a certificate for this name or address: then it is a name of the gateway as
  /// well. May be empty. Called on workers' threads.
  std::function<bool(std::string_view host)> is_certified{};
};

/// Contents of the pages about the backplane. Called on workers' threads, concurrently.
struct SitePages {
  std::function<std::string()> metrics;        ///< Prometheus text
  std::function<std::string()> why_not_ready;  ///< empty: ready
  /// A JSON object: for everybody if there are no rights, because there is no policy.
  std::function<std::string(const Rights* rights)> status;
  std::string ready_note{};  ///< a further line of /readyz; empty: none
};

/// Decides which hosts and origins may send requests, and provides the pages. Outlives the sessions. Any
/// thread, except add_address().
class Site {
 public:
  Site(SiteOptions options, SitePages pages);

  /// Adds the host of an address (HOST:PORT) that the gateway listens on to its names. Called before the
  /// first client connects.
  void add_address(std::string_view address);

  [[nodiscard]] const SiteOptions& options() const noexcept { return options_; }
  [[nodiscard]] const SitePages& pages() const noexcept { return pages_; }
  /// Const, because counting changes nothing else.
  [[nodiscard]] Counters& counters() const noexcept { return counters_; }

  /// Whether `host`, as a request contains it, is a name of this gateway. A page from elsewhere whose name
  /// was made to resolve to this machine (DNS rebinding) sends its own name.
  [[nodiscard]] bool is_host(std::string_view host) const;
  /// Whether a page of `origin` may use `host`: a page of the same origin, or of one in cors_origins.
  /// @param encrypted the request came by TLS. Then a page that did not is of another origin: anybody on its
  ///                  way may have changed it. A request without TLS may have come through a proxy with TLS.
  [[nodiscard]] bool may_use(std::string_view origin, std::string_view host, bool encrypted) const;
  /// Whether the response must allow the origin explicitly.
  [[nodiscard]] bool is_cors_origin(std::string_view origin) const;

 private:
  const SiteOptions options_;
  const SitePages pages_;
  std::set<std::string, std::less<>> hosts_;
  bool any_address_{};  ///< the gateway listens on all addresses of the machine, which cannot be listed
  mutable Counters counters_;
};

}  // namespace backplane::gateway::http
