#include "admin/api.hpp"

#include "admin/json_views.hpp"
#include "admin/queue_listing.hpp"
#include "admin/selector.hpp"
#include "base/log.hpp"
#include "base/worker_pool.hpp"
#include "queue/spool.hpp"

#include <charconv>
#include <exception>

#include <fmt/format.h>

namespace danki::admin {
namespace {

constexpr std::size_t kDefaultPageEntries = 50;
constexpr int kMaxContentsOut = 4;  // each may be as large as a message may be

constexpr std::string_view kAnyId = "{id}";

std::vector<std::string_view> split_pattern(std::string_view pattern) {
  std::vector<std::string_view> parts;
  while (!pattern.empty()) {
    pattern.remove_prefix(1);  // the slash
    const std::size_t end = std::min(pattern.find('/'), pattern.size());
    parts.push_back(pattern.substr(0, end));
    pattern.remove_prefix(end);
  }
  return parts;
}

bool path_matches(std::string_view pattern, const std::vector<std::string>& segments) {
  const auto parts = split_pattern(pattern);
  if (parts.size() != segments.size()) return false;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (parts[i] != kAnyId && parts[i] != segments[i]) return false;
  }
  return true;
}

Response json_response(std::string body) {
  return Response{.body = std::move(body)};
}

Response failure_response(const Error& error) {
  log::warn("admin request failed", {{"error", error.message()}});
  return error_response(500, error.message());
}

Response no_such_message(std::string_view id) {
  return error_response(404, fmt::format("no message {} in the queue: delivered, bounced or never accepted here", id));
}

/// The page size asked for; nullopt when it is none.
std::optional<std::size_t> take_limit(std::map<std::string, std::string>& query) {
  const auto parameter = query.find("limit");
  if (parameter == query.end()) return kDefaultPageEntries;
  const std::string text = std::move(parameter->second);
  query.erase(parameter);
  std::size_t limit = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), limit);
  if (error != std::errc{} || end != text.data() + text.size() || limit == 0 || limit > kMaxPageEntries)
    return std::nullopt;
  return limit;
}

std::string take_cursor(std::map<std::string, std::string>& query) {
  const auto parameter = query.extract("cursor");
  return parameter ? std::move(parameter.mapped()) : std::string();
}

}  // namespace

struct Api::Route {
  std::string_view method, path;
  void (Api::*handler)(const Request&, const Target&, Done);
};

const std::vector<Api::Route>& Api::routes() {
  static const std::vector<Route> all = {
      {"GET", "/healthz", &Api::health},
      {"GET", "/readyz", &Api::ready},
      {"GET", "/v1/status", &Api::status},
      {"GET", "/v1/queue", &Api::queue_summary},
      {"GET", "/v1/queue/messages", &Api::list_messages},
      {"GET", "/v1/queue/messages/{id}", &Api::show_message},
      {"GET", "/v1/queue/messages/{id}/content", &Api::message_content},
      {"POST", "/v1/queue/retry", &Api::retry},
      {"POST", "/v1/config/reload", &Api::reload},
  };
  return all;
}

Api::Api(Ports& ports, queue::Spool& spool, const Clock& clock, WorkerPool& workers)
    : ports_(ports),
      spool_(spool),
      clock_(clock),
      workers_(workers),
      contents_out_(std::make_shared<std::atomic<int>>(0)) {}

bool Api::is_public(std::string_view target) {
  return target == "/healthz" || target == "/readyz";
}

void Api::handle(Request request, Done done) {
  const auto target = parse_target(request.target);
  if (!target) return done(error_response(400, "the request target is malformed"));
  std::string allowed;
  for (const Route& route : routes()) {
    if (!path_matches(route.path, target->segments)) continue;
    if (route.method == request.method) return (this->*route.handler)(request, *target, std::move(done));
    allowed += (allowed.empty() ? "" : ", ") + std::string(route.method);
  }
  if (allowed.empty()) return done(error_response(404, "no such path"));
  Response refused = error_response(405, "this path takes " + allowed);
  refused.allow = std::move(allowed);
  done(std::move(refused));
}

void Api::health(const Request&, const Target&, Done done) {
  done(json_response(R"({"status":"ok"})"));
}

void Api::ready(const Request&, const Target&, Done done) {
  ports_.status([done = std::move(done)](const StatusView& view) {
    if (view.refusing.empty()) return done(json_response(R"({"status":"ready"})"));
    done(error_response(503, "new mail is refused: " + view.refusing));
  });
}

void Api::status(const Request&, const Target&, Done done) {
  // Nothing of ours in the callback: it may come when we are gone.
  ports_.status([spool = spool_.stats(), now = clock_.now(), done = std::move(done)](StatusView view) {
    done(Response{.render = [view = std::move(view), spool, now] { return status_json(view, spool, now); }});
  });
}

void Api::queue_summary(const Request&, const Target&, Done done) {
  // The answer comes on the scheduler's strand, and may name ten thousand sites.
  ports_.sites([done = std::move(done)](std::vector<SiteView> sites) {
    done(Response{.render = [sites = std::move(sites)] { return sites_json(sites); }});
  });
}

void Api::list_messages(const Request&, const Target& target, Done done) {
  auto query = target.query;
  const auto limit = take_limit(query);
  if (!limit) return done(error_response(400, fmt::format("limit: a number from 1 to {}", kMaxPageEntries)));
  std::string cursor = take_cursor(query);
  auto selector = take_selector(query);
  if (!selector) return done(error_response(400, selector.error().detail));
  if (!query.empty()) return done(error_response(400, query.begin()->first + ": unknown parameter"));
  auto work = [this, selector = std::move(*selector), cursor = std::move(cursor), limit = *limit] {
    const auto page = list_queue(spool_, ports_, clock_, selector, cursor, limit);
    if (page) return json_response(page_json(*page));
    if (page.error().code == std::errc::invalid_argument)
      return error_response(400, "cursor: not one that a list gave");
    return failure_response(page.error());
  };
  on_worker(std::move(work), std::move(done));
}

void Api::show_message(const Request&, const Target& target, Done done) {
  const auto id = queue::MessageId::parse(target.segments[3]);
  if (!id) return done(error_response(400, "a message id has 13 characters"));
  auto work = [this, id = *id] {
    const auto message = spool_.show(id);
    if (!message && message.error().code == std::errc::no_such_file_or_directory)
      return no_such_message(id.to_string());
    if (!message) return failure_response(message.error());
    std::vector<std::string> sites;
    for (const queue::DueEntry& entry : message->entries) sites.push_back(ports_.site_of(entry.lane.domain));
    return json_response(message_json(*message, sites));
  };
  on_worker(std::move(work), std::move(done));
}

void Api::message_content(const Request&, const Target& target, Done done) {
  const auto id = queue::MessageId::parse(target.segments[3]);
  if (!id) return done(error_response(400, "a message id has 13 characters"));
  if (contents_out_->fetch_add(1) >= kMaxContentsOut) {
    contents_out_->fetch_sub(1);
    return done(error_response(503, "too many contents are being read, try again"));
  }
  auto give_back = [contents = contents_out_](void*) { contents->fetch_sub(1); };
  std::shared_ptr<void> hold(contents_out_.get(), give_back);
  on_worker([this, id = *id, hold = std::move(hold)] { return read_content(id, hold); }, std::move(done));
}

Response Api::read_content(queue::MessageId id, std::shared_ptr<void> hold) {
  auto content = spool_.read_content(id);
  if (!content && content.error().code == std::errc::no_such_file_or_directory) return no_such_message(id.to_string());
  if (!content) return failure_response(content.error());
  return Response{
      .body = ports_.prepared_lines(id) + *content, .content_type = "message/rfc822", .hold = std::move(hold)};
}

void Api::retry(const Request& request, const Target&, Done done) {
  auto selector = parse_selector(request.body);
  if (!selector) return done(error_response(400, selector.error().detail));
  ports_.retry(std::move(*selector), [done = std::move(done)](std::uint64_t matched) {
    done(json_response(fmt::format(R"({{"matched":{}}})", matched)));
  });
}

void Api::reload(const Request&, const Target&, Done done) {
  ports_.reload([done = std::move(done)](const Result<void>& reloaded) {
    if (reloaded) return done(json_response(R"({"reloaded":true})"));
    const Error& refused = reloaded.error();  // the detail holds the file's problems, the code adds nothing
    done(error_response(422, refused.detail.empty() ? refused.message() : refused.detail));
  });
}

void Api::on_worker(std::function<Response()> work, Done done) {
  auto task = [work = std::move(work), done] {
    try {
      done(work());
    } catch (const std::exception& failure) {
      done(error_response(500, failure.what()));
    }
  };
  if (!workers_.try_submit(std::move(task))) done(error_response(503, "too many requests are waiting, try again"));
}

}  // namespace danki::admin
