#pragma once
// What all HTTP clients of one backplane share.

#include <chrono>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/protocols/http/counters.hpp"
#include "gateway/protocols/http/request_reader.hpp"

namespace backplane::gateway::http {

struct SiteOptions {
  RequestReader::Limits limits;
  std::chrono::milliseconds request_timeout{
      30'000};                            ///< from the first byte of a request to its last; 0: none
  std::vector<std::string> hosts;         ///< names that it is reached by, beside the loopback's
  std::vector<std::string> cors_origins;  ///< as a browser says them: `https://example.org`
};

/// What is shown of the backplane. Called on workers' threads, several at a time.
struct SitePages {
  std::function<std::string()> metrics;        ///< Prometheus' text
  std::function<std::string()> why_not_ready;  ///< empty: ready
  std::function<std::string()> status;         ///< a JSON object
};

/// Who may ask, and for what there is. Outlives the sessions; any thread, but for add_place().
class Site {
 public:
  Site(SiteOptions options, SitePages pages);

  /// A place, HOST:PORT, where it is listened: that host is one of its names. Before the first client comes.
  void add_place(std::string_view place);

  [[nodiscard]] const SiteOptions& options() const noexcept { return options_; }
  [[nodiscard]] const SitePages& pages() const noexcept { return pages_; }
  /// Const, as counting changes nothing else.
  [[nodiscard]] Counters& counters() const noexcept { return counters_; }

  /// Whether `host`, as a request has it, is a name of this gateway's: a page elsewhere whose name is made to
  /// mean this machine (DNS rebinding) asks by its own name.
  [[nodiscard]] bool is_host(std::string_view host) const;
  /// Whether a page of `origin` may use what `host` gives: its own pages, and those of cors_origins.
  [[nodiscard]] bool may_use(std::string_view origin, std::string_view host) const;
  /// Whether a browser is to be told that it may.
  [[nodiscard]] bool is_cors_origin(std::string_view origin) const;

 private:
  const SiteOptions options_;
  const SitePages pages_;
  std::set<std::string, std::less<>> hosts_;
  bool any_address_{};  ///< it is listened on all of the machine's, which nobody can list
  mutable Counters counters_;
};

}  // namespace backplane::gateway::http
