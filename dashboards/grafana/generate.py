#!/usr/bin/env python3
"""Writes overview.json and endpoint.json beside itself. `generate.py --check` says instead whether they are up to date.

What a reader would get wrong: edit this file, never the JSON, and run it. Panels flow from left to right on Grafana's 24
columns in the order in which they stand here; `row` begins a new line. `link` is a label only with metrics.per_link = true,
so every expression sums it away, and works with both.
"""

import json
import pathlib
import sys

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
DAEMON = 'job=~"$job", instance=~"$instance"'
ENDPOINT = DAEMON + ', endpoint=~"$endpoint"'
GREEN, YELLOW, RED, BLUE, PURPLE, GREY = "green", "yellow", "red", "blue", "purple", "#8e8e8e"
# In the order in which they are stacked: what is well at the bottom.
PHASES = {
    "ready": GREEN, "opening": BLUE, "connecting": "light-blue", "closing": PURPLE, "waiting": YELLOW, "paused": GREY, "parked": RED,
}
KEYS = "job, instance, endpoint"


def select(name, more="", scope=ENDPOINT):
    """A selector: the metric, in the scope of the dashboard's variables."""
    return f"wskeeper_{name}{{{scope}{', ' + more if more else ''}}}"


def eq(label, value):
    return f'{label}="{value}"'


def ne(label, value):
    return f'{label}!="{value}"'


def rate(name, by, more="", scope=ENDPOINT):
    return f"sum by ({by}) (rate({select(name, more, scope)}[$__rate_interval]))"


def quantile(q, name, by=""):
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({q}, sum by ({labels}) (rate({select(name + '_bucket')}[$__rate_interval])))"


def quantiles(name):
    return [(quantile(q, name), text) for q, text in ((0.5, "half within"), (0.9, "9 of 10 within"), (0.99, "99 of 100 within"))]


# --- panels ---------------------------------------------------------------------------------------------------------------


def steps(*pairs):
    """Thresholds: the colour from the start, then (value, colour) from there on."""
    return {"mode": "absolute", "steps": [{"color": pairs[0], "value": None}] + [{"color": c, "value": v} for v, c in pairs[1:]]}


def target(number, expr, legend, **more):
    return {"refId": chr(ord("A") + number), "datasource": DATASOURCE, "expr": expr, "legendFormat": legend, **more}


def panel(kind, title, description, targets, unit, width, height, options, defaults, overrides=(), **more):
    return {
        "type": kind, "title": title, "description": description, "datasource": DATASOURCE, "targets": targets,
        "fieldConfig": {"defaults": {"unit": unit, **defaults}, "overrides": list(overrides)}, "options": options,
        "gridPos": {"w": width, "h": height, "x": 0, "y": 0}, **more,
    }


def stat(title, description, expr, unit, thresholds, width=3, mappings=(), decimals=None, legend=""):
    defaults = {"thresholds": thresholds, "color": {"mode": "thresholds"}, "mappings": list(mappings), "noValue": "none"}
    if decimals is not None:
        defaults["decimals"] = decimals
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "colorMode": "background", "graphMode": "none",
        "justifyMode": "center", "orientation": "auto", "textMode": "value_and_name" if legend else "value", "wideLayout": True,
    }
    return panel("stat", title, description, [target(0, expr, legend, instant=True)], unit, width, 4, options, defaults)


def series(title, description, exprs, unit, width=8, height=8, stack=False, colors=None, low=0, dashed=()):
    """A time series; `exprs` are (expression, legend). `dashed` legends are limits, drawn as dashed red lines."""
    custom = {
        "drawStyle": "line", "lineWidth": 1, "fillOpacity": 60 if stack else 8, "showPoints": "never", "spanNulls": False,
        "lineInterpolation": "stepAfter" if stack else "linear", "stacking": {"mode": "normal" if stack else "none", "group": "A"},
    }
    overrides = [by_name(name, color={"mode": "fixed", "fixedColor": color}) for name, color in (colors or {}).items()]
    for name in dashed:
        line = {"custom.lineStyle": {"fill": "dash", "dash": [8, 6]}, "custom.fillOpacity": 0}
        overrides.append(by_name(name, color={"mode": "fixed", "fixedColor": RED}, **line))
    options = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    targets = [target(i, expr, legend) for i, (expr, legend) in enumerate(exprs)]
    defaults = {"custom": custom, "color": {"mode": "palette-classic"}, **({} if low is None else {"min": low})}
    return panel("timeseries", title, description, targets, unit, width, height, options, defaults, overrides)


def by_name(name, **properties):
    return {
        "matcher": {"id": "byName", "options": name}, "properties": [{"id": key, "value": value} for key, value in properties.items()],
    }


def row(title, collapsed=False):
    return {"type": "row", "title": title, "collapsed": collapsed, "panels": [], "gridPos": {"w": 24, "h": 1, "x": 0, "y": 0}}


def flow(panels):
    """Gives each panel its id and its place: from left to right, a new line where it does not fit. A collapsed row keeps its own."""
    out, x, y, high, shut = [], 0, 0, 0, None
    for number, each in enumerate(panels, 1):
        each["id"] = number
        place = each["gridPos"]
        if each["type"] == "row" or x + place["w"] > 24:
            x, y, high = 0, y + high, 0
        place.update(x=x, y=y)
        x, high = x + place["w"], max(high, place["h"])
        if each["type"] == "row":
            x, y, high = 0, y + 1, 0
            shut = each if each["collapsed"] else None
            out.append(each)
        else:
            (shut["panels"] if shut else out).append(each)
    return out


# --- dashboards -----------------------------------------------------------------------------------------------------------


def variable(name, label, query, **more):
    return {
        "name": name, "label": label, "type": "query", "datasource": DATASOURCE, "refresh": 2, "sort": 1, "hide": 0,
        "query": {"query": query, "refId": f"variable-{name}"}, "regex": "", "options": [],
        **(more or {"multi": True, "includeAll": True, "allValue": ".+", "current": {"text": ["All"], "value": ["$__all"]}}),
    }


def annotation(name, color, expr, title, enable=True, **more):
    return {
        "name": name, "datasource": DATASOURCE, "enable": enable, "hide": False, "iconColor": color, "expr": expr,
        "titleFormat": title, "step": "60s", **more,
    }


def dashboard(uid, title, description, panels, endpoint, links, annotations):
    labels = "label_values(wskeeper_links{%s}, endpoint)" % DAEMON
    return {
        "uid": uid, "title": title, "description": description, "tags": ["wskeeper", "websocket"], "schemaVersion": 39,
        "editable": False, "graphTooltip": 1, "timezone": "browser", "refresh": "30s", "time": {"from": "now-3h", "to": "now"},
        "timepicker": {}, "weekStart": "", "fiscalYearStartMonth": 0, "links": links,
        "annotations": {"list": annotations},
        "templating": {"list": [
            {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "hide": 0, "refresh": 1,
             "regex": "", "options": [], "multi": False, "includeAll": False},
            variable("job", "Job", "label_values(wskeeper_build_info, job)"),
            variable("instance", "Instance", 'label_values(wskeeper_build_info{job=~"$job"}, instance)'),
            variable("endpoint", "Endpoint", labels, **endpoint),
        ]},
        "panels": flow(panels),
    }


RELOADS = annotation(
    "Configuration applied", BLUE, f"{select('config_last_reload_success_timestamp_seconds', scope=DAEMON)} * 1000",
    "{{instance}}: configuration applied", useValueForTime=True,
)
REFUSALS = annotation(
    "Configuration refused", RED, f"increase({select('config_reloads_total', eq('result', 'error'), DAEMON)}[2m]) > 0",
    "{{instance}}: configuration refused",
)


def closes(enable):
    expr = f"sum by (instance, endpoint, cause) (increase({select('closes_total', eq('clean', 'false'))}[2m])) > 0"
    return annotation("Connections lost", YELLOW, expr, "{{endpoint}} on {{instance}}: {{cause}}", enable)


def bring(title, url):
    return {
        "type": "link", "title": title, "url": url, "icon": "dashboard", "tooltip": title, "tags": [], "asDropdown": False,
        "targetBlank": False, "includeVars": False, "keepTime": True,
    }


VARIABLES = "${datasource:queryparam}&${job:queryparam}&${instance:queryparam}"
READY = f"sum({select('links', eq('phase', 'ready'))})"
WANTED = f"sum({select('links', ne('phase', 'paused'))})"
NOT_READY = 'phase!~"ready|paused"'
UNINTENDED = 'reason!~"evicted|overflow|down|conflated|ttl|generation"'


def used(by):
    """How full the outboxes are, by the fuller of bytes and messages."""
    def ratio(held, limit):
        return f"sum by ({by}) ({select(held)}) / sum by ({by}) ({select(limit)})"
    in_bytes = ratio("buffered_amount_bytes", "outbox_limit_bytes")
    in_messages = ratio("outbox_messages", "outbox_limit_messages")
    return f"({in_bytes} >= {in_messages}) or {in_messages}"


def phases(width):
    return series(
        "Links by phase", "Ready is good; waiting is a backoff or admission; parked is refused by the peer and probed slowly; paused is by an operator.",
        [(f"sum({select('links', eq('phase', phase))})", phase) for phase in PHASES], "none", width, stack=True, colors=PHASES,
    )


def oldest(width, by, legend):
    return series(
        "Oldest queued message", "How long the oldest message waits. It grows by a second each second while nothing leaves.",
        [(f"max by ({by}) ({select('outbox_oldest_message_age_seconds')})", legend)], "s", width,
    )


def lost(width):
    return series(
        "Messages lost or refused", "Lost: accepted, and not known to have arrived, by reason. Refused: never accepted; the sender was told.",
        [(rate("messages_lost_total", "reason") + " > 0", "lost: {{reason}}"),
         (rate("outbox_refused_total", "reason") + " > 0", "refused: {{reason}}"),
         (f"sum(rate({select('messages_lost_total')}[$__rate_interval]))", "lost in all")], "ops", width,
    )


def table():
    columns = [
        ("Ready", f"sum by ({KEYS}) ({select('links', eq('phase', 'ready'))})", "none", None),
        ("Not ready", f"sum by ({KEYS}) ({select('links', NOT_READY)})", "none", steps(GREEN, (1, YELLOW))),
        ("Parked", f"sum by ({KEYS}) ({select('links', eq('phase', 'parked'))})", "none", steps(GREEN, (1, RED))),
        ("Longest not ready", f"max by ({KEYS}) ({select('links_longest_not_ready_seconds')})", "s", steps(GREEN, (60, YELLOW), (900, RED))),
        ("Connections ended 1 h", f"sum by ({KEYS}) (increase({select('closes_total')}[1h]))", "short", steps(GREEN, (5, YELLOW), (60, RED))),
        ("Outbox used", used(KEYS), "percentunit", steps(GREEN, (0.5, YELLOW), (0.8, RED))),
        ("Oldest queued", f"max by ({KEYS}) ({select('outbox_oldest_message_age_seconds')})", "s", steps(GREEN, (60, YELLOW), (300, RED))),
        ("In", rate("messages_total", KEYS, eq("direction", "in")), "ops", None),
        ("Out", rate("messages_total", KEYS, eq("direction", "out")), "ops", None),
        ("Lost messages 1 h", f"sum by ({KEYS}) (increase({select('messages_lost_total', UNINTENDED)}[1h]))", "short", steps(GREEN, (1, RED))),
    ]
    targets = [target(i, expr, "", format="table", instant=True) for i, (_, expr, _, _) in enumerate(columns)]
    names = {f"Value #{chr(ord('A') + i)}": name for i, (name, *_) in enumerate(columns)}
    overrides = []
    for name, _, unit, thresholds in columns:
        marks = {"thresholds": thresholds, "custom.cellOptions": {"type": "color-text"}} if thresholds else {}
        whole = {"decimals": 0} if unit in ("short", "s") else {}
        overrides.append(by_name(name, unit=unit, **whole, **marks))
    # The values of `$instance` and the like are those of the row, not of the dashboard.
    fields = "&".join(f"var-{key}=${{__data.fields.{key}}}" for key in ("job", "instance", "endpoint"))
    url = "/d/wskeeper-endpoint?${datasource:queryparam}&" + fields + "&${__url_time_range}"
    overrides.append(by_name("job", **{"custom.hidden": True}))
    overrides.append(by_name("endpoint", links=[{"title": "Look at this endpoint", "url": url}]))
    order = ["endpoint", "instance", "job"] + [f"Value #{chr(ord('A') + i)}" for i in range(len(columns))]
    return panel(
        "table", "Endpoints", "Those in trouble stand first. The name leads to the endpoint's own dashboard.", targets, "none", 24, 9,
        {"showHeader": True, "cellHeight": "sm", "sortBy": [{"displayName": "Longest not ready", "desc": True}], "footer": {"show": False, "reducer": ["sum"], "fields": ""}},
        {"custom": {"align": "auto", "filterable": True}, "color": {"mode": "thresholds"}, "thresholds": steps("text")}, overrides,
        transformations=[
            {"id": "merge", "options": {}},
            {"id": "organize", "options": {"excludeByName": {"Time": True}, "renameByName": names, "indexByName": {name: i for i, name in enumerate(order)}}},
        ],
    )


def overview():
    refused = {"type": "value", "options": {"0": {"text": "refused", "color": RED, "index": 0}, "1": {"text": "applied", "color": GREEN, "index": 1}}}
    up = 'up{job=~"$job", instance=~"$instance"}'
    return [
        stat("Daemons down", "Targets that Prometheus cannot scrape.", f"count({up} == 0) or count({up}) * 0", "none", steps(GREEN, (1, RED))),
        stat("Links ready", "Of all links that are neither paused nor asleep.", f"{READY} / {WANTED}", "percentunit", steps(RED, (0.9, YELLOW), (1, GREEN)), decimals=1),
        stat("Longest not ready", "How long the link has not been ready that has not for the longest.", f"max({select('links_longest_not_ready_seconds')})", "s", steps(GREEN, (60, YELLOW), (900, RED)), decimals=0),
        stat("Parked", "Links whose peers refuse them in a way that trying again does not mend.", f"sum({select('links', eq('phase', 'parked'))})", "none", steps(GREEN, (1, RED))),
        stat("Oldest queued", "How long the oldest message waits in an outbox.", f"max({select('outbox_oldest_message_age_seconds')})", "s", steps(GREEN, (60, YELLOW), (300, RED)), decimals=0),
        stat("Messages lost", "Within the time shown, without those that the endpoints' own policy drops.", f"sum(increase({select('messages_lost_total', UNINTENDED)}[$__range]))", "short", steps(GREEN, (1, RED)), decimals=0),
        stat("Next certificate", "Time until the first certificate expires, of peers and of ours.", f"min({select('certificate_not_after_timestamp_seconds')}) - time()", "s", steps(RED, (172800, YELLOW), (1209600, GREEN)), decimals=0),
        stat("Configuration", "Whether the last configuration read was applied everywhere.", f"min({select('config_last_reload_successful', scope=DAEMON)})", "none", steps(GREEN), mappings=[refused]),
        table(),
        row("Links"),
        phases(8),
        series("Attempts", "By result: ok, or the class of the failure; without those that an operator or a reload cut short.",
               [(rate("connect_attempts_total", "result", eq("result", "ok")), "{{result}}"),
                (rate("connect_attempts_total", "result", 'result!~"ok|abandoned"') + " > 0", "{{result}}")], "ops", colors={"ok": GREEN}),
        series("Connections that ended", "By what ended them; clean ones too.",
               [(rate("closes_total", "cause") + " > 0", "{{cause}}"), (f"sum(rate({select('closes_total')}[$__rate_interval]))", "all")], "ops"),
        row("Messages"),
        series("Messages", "Received, and handed to the network.", [(rate("messages_total", "direction"), "{{direction}}")], "ops"),
        series("Bytes", "Application data, without framing.", [(rate("message_bytes_total", "direction"), "{{direction}}")], "Bps"),
        lost(8),
        row("Queues and consumers"),
        series("Outbox used", "The fullest endpoints, by bytes or messages.", [(f"topk(10, {used('instance, endpoint')})", "{{endpoint}} on {{instance}}")], "percentunit", 6),
        oldest(6, "instance, endpoint", "{{endpoint}} on {{instance}}"),
        series("Local consumers", "Readers of the inboxes.", [(f"sum by (instance, endpoint) ({select('consumers')})", "{{endpoint}} on {{instance}}")], "none", 6),
        series("Missed by consumers", "Entries that slow consumers missed: they fell out of the retained window, and were told.",
               [(rate("consumer_missed_total", "instance, endpoint"), "{{endpoint}} on {{instance}}")], "ops", 6),
        row("Daemons"),
        *daemons(),
    ]


def daemons():
    def both(held, limit, name):
        return [(f"sum by (instance) ({select(held, scope=DAEMON)})", f"{{{{instance}}}}: {name}"), (f"max({select(limit, scope=DAEMON)})", "limit")]
    process = lambda name: f"process_{name}{{{DAEMON}}}"
    return [
        series("Memory", "Resident memory of the process, and the payload in all its outboxes and inboxes against limits.memory.",
               [(f"sum by (instance) ({process('resident_memory_bytes')})", "{{instance}}: resident"), *both("payload_bytes", "payload_limit_bytes", "payload")], "bytes", 6, dashed=["limit"]),
        series("CPU", "Cores in use.", [(f"sum by (instance) (rate({process('cpu_seconds_total')}[$__rate_interval]))", "{{instance}}")], "none", 6),
        series("Open files", "A link and a local consumer need one each.",
               [(f"sum by (instance) ({process('open_fds')})", "{{instance}}"), (f"max({process('max_fds')})", "limit")], "none", 6, dashed=["limit"]),
        series("Local connections", "Requests, event streams and WebSockets of local programs, against api.max_connections.",
               both("api_connections", "api_connections_limit", "open") + [(rate("api_connections_refused_total", "instance", scope=DAEMON), "{{instance}}: refused/s")], "none", 6, dashed=["limit"]),
        series("Store", "What is on disk, against storage.max_bytes, and durable inboxes' part of it.",
               both("store_bytes", "store_limit_bytes", "store") + [(f"sum by (instance) ({select('store_inbox_bytes', scope=DAEMON)})", "{{instance}}: inboxes")], "bytes", 6, dashed=["limit"]),
        series("Stored messages", "Not ended yet; without a link in the configuration (orphans); refused by their peers (dead letters).",
               [(f"sum by (instance) ({select(name, scope=DAEMON)})", "{{instance}}: " + text) for name, text in (("store_messages", "stored"), ("store_orphans", "orphans"), ("dead_letters", "dead letters"))]
               + [(f"sum by (instance) (increase({select('orphans_discarded_total', scope=DAEMON)}[$__rate_interval]))", "{{instance}}: orphans discarded")], "none", 6),
        series("Waiting for admission", "Attempts that wait until another one to the same host has ended, or for their turn.",
               [(f"sum by (instance) ({select('admission_waiting', scope=DAEMON)})", "{{instance}}")], "none", 6),
        series("Endpoints", "Of the file, and those that programs made by the API, against limits.endpoints; and what of them was put, removed or refused.",
               [(f"sum by (source) ({select('endpoints', scope=DAEMON)})", "{{source}}"), (f"max({select('endpoints_limit', scope=DAEMON)})", "limit"),
                (f"sum by (change, result) (rate({select('endpoint_changes_total', scope=DAEMON)}[$__rate_interval]))", "{{change}} {{result}}/s")], "none", 6, dashed=["limit"]),
        series("Log lines dropped", "Nobody reads the log: stderr is a pipe that is full, or the journal takes nothing. Links do not wait for it.",
               [(rate("log_lines_dropped_total", "instance", scope=DAEMON), "{{instance}}")], "none", 6),
        series("Running since and version", "Uptime; a saw-tooth is a restart.",
               [(f"(time() - {process('start_time_seconds')}) * on (job, instance) group_left (version) {select('build_info', scope=DAEMON)}", "{{instance}} {{version}}")], "s", 6),
    ]


def endpoint():
    bare = lambda name: f"sum({select(name)})"
    return [
        stat("Links ready", "Of those that are neither paused nor asleep.", f"{READY} / {WANTED}", "percentunit", steps(RED, (0.9, YELLOW), (1, GREEN)), decimals=1),
        stat("Longest not ready", "How long the link has not been ready that has not for the longest.", f"max({select('links_longest_not_ready_seconds')})", "s", steps(GREEN, (60, YELLOW), (900, RED)), decimals=0),
        stat("Ready links needed", "min_ready, where the endpoint is critical.", f"max({select('links_min_ready')})", "none", steps("text")),
        stat("Outbox used", "By bytes or messages, whichever is fuller.", f"max({used('instance')})", "percentunit", steps(GREEN, (0.5, YELLOW), (0.8, RED)), decimals=1),
        stat("Oldest queued", "How long the oldest message waits.", f"max({select('outbox_oldest_message_age_seconds')})", "s", steps(GREEN, (60, YELLOW), (300, RED)), decimals=0),
        stat("Messages lost", "Within the time shown, without those that the endpoint's own policy drops.", f"sum(increase({select('messages_lost_total', UNINTENDED)}[$__range]))", "short", steps(GREEN, (1, RED)), decimals=0),
        stat("Round trip", "Half of the pings were answered within this.", quantile(0.5, "ping_rtt_seconds"), "s", steps("text")),
        stat("Next certificate", "Time until it expires: the peer's and ours.", f"min by (kind) ({select('certificate_not_after_timestamp_seconds')}) - time()", "s", steps(RED, (172800, YELLOW), (1209600, GREEN)), decimals=0, legend="{{kind}}"),
        row("Links"),
        phases(8),
        series("Attempts", "By result: ok, or the class of the failure.", [(rate("connect_attempts_total", "result", eq("result", "ok")), "{{result}}"), (rate("connect_attempts_total", "result", ne("result", "ok")) + " > 0", "{{result}}")], "ops", colors={"ok": GREEN}),
        series("Connections that ended", "By close code received and cause. 1005: no code was given; 1006: no Close frame came.",
               [(rate("closes_total", "code, cause") + " > 0", "{{code}} {{cause}}"), (f"sum(rate({select('closes_total')}[$__rate_interval]))", "all")], "ops"),
        series("Time to a connection", "DNS, TCP, TLS and upgrade of successful attempts, without the wait for admission.", quantiles("connect_duration_seconds"), "s"),
        series("Age at the end", "How long connections had been open when they ended. Low values are flapping.", quantiles("connection_age_seconds"), "s"),
        series("Reconnect delays", "Delays drawn before attempts. They rise towards reconnect.max while a peer stays away.", quantiles("reconnect_delay_seconds"), "s"),
        series("HTTP/2 connections", "Connections that links share. Endpoints without HTTP/2 have none.", [(f"sum({select('http2_connections')})", "connections")], "none"),
        series("Budget of attempts", "Attempts that count, against reconnect.budget. Endpoints without a budget have none.",
               [(f"sum by (instance) ({select('reconnect_budget_used_attempts')})", "{{instance}} used"), (f"sum by (instance) ({select('reconnect_budget_attempts')})", "limit")], "none", dashed=["limit"]),
        row("Heartbeat"),
        series("Round trip", "From ping to pong. A rise comes before timeouts.", quantiles("ping_rtt_seconds"), "s", 12),
        series("Pings and timeouts", "A timeout is a connection given up, because nothing was heard after a ping.",
               [(f"sum(rate({select('pings_sent_total')}[$__rate_interval]))", "pings"), (f"sum(rate({select('heartbeat_timeouts_total')}[$__rate_interval]))", "timeouts"),
                (f"sum(rate({select('pongs_refused_total')}[$__rate_interval]))", "pongs refused"),
                (f"sum(rate({select('link_panics_total')}[$__rate_interval]))", "panics")], "ops", 12, colors={"timeouts": RED, "panics": PURPLE}),
        row("Sessions"),
        series("Time to ready", "From OPEN to ready: a login and what else a session does first. Endpoints without a session have none.", quantiles("session_duration_seconds"), "s"),
        series("Session steps", "Steps that ran, and sessions that ended their connection.", [(rate("session_steps_total", "result"), "{{result}}")], "ops", colors={"ok": GREEN, "failed": RED}),
        series("Keepalives", "Answers that timers of sessions waited for. A missed one ends the connection.", [(rate("keepalives_total", "result"), "{{result}}")], "ops", colors={"answered": GREEN, "missed": RED}),
        series("Subscriptions", "Keys by state. Endpoints without subscriptions have none.", [(f"sum by (state) ({select('subscriptions')})", "{{state}}")], "none", 24, colors={"active": GREEN, "pending": YELLOW, "refused": RED}),
        row("Messages"),
        series("Messages", "Received, and handed to the network.", [(rate("messages_total", "direction, type"), "{{direction}} {{type}}")], "ops"),
        series("Bytes", "Application data, without framing.", [(rate("message_bytes_total", "direction, type"), "{{direction}} {{type}}")], "Bps"),
        series("Receipts", "What became of accepted messages. Written ones count again when they are confirmed or unknown.",
               [(rate("receipts_total", "outcome"), "{{outcome}}")], "ops", colors={"confirmed": GREEN, "written": BLUE, "unknown": YELLOW, "dead": RED}),
        row("Requests"),
        series("Requests", "By how they ended. Endpoints without requests have none.", [(rate("requests_total", "outcome"), "{{outcome}}")], "ops", 12, colors={"reply": GREEN, "error": YELLOW, "lost": RED, "timeout": RED}),
        series("Time to the reply", "From a request to its end.", quantiles("request_seconds"), "s", 12),
        row("Pushes"),
        series("Pushes", "What receivers have taken, and what went wrong. Endpoints without pushes have none.",
               [(rate("push_delivered_total", "push"), "{{push}} taken"), (rate("push_failures_total", "push"), "{{push}} failed"), (rate("push_retries_total", "push"), "{{push}} tried again"),
                (rate("push_skipped_total", "push"), "{{push}} skipped"), (rate("push_gaps_total", "push"), "{{push}} gaps"), (rate("push_cursor_refused_total", "push"), "{{push}} cursors not kept")], "ops"),
        series("Pushed bytes", "Of messages that receivers have taken.", [(rate("push_delivered_bytes_total", "push"), "{{push}}")], "Bps"),
        series("Behind", "Entries of the inbox that a push has not handed over, and pushes whose receiver takes nothing.", [(f"sum by (push) ({select('push_behind_entries')})", "{{push}} behind"), (f"sum({select('push_failing')})", "failing")], "none"),
        row("Bridges"),
        series("Bridges", "What brokers have taken, and what went wrong. Endpoints without bridges have none.",
               [(rate("bridge_delivered_total", "bridge"), "{{bridge}} taken"), (rate("bridge_failures_total", "bridge"), "{{bridge}} failed"), (rate("bridge_retries_total", "bridge"), "{{bridge}} tried again"),
                (rate("bridge_skipped_total", "bridge"), "{{bridge}} skipped"), (rate("bridge_gaps_total", "bridge"), "{{bridge}} gaps"), (rate("bridge_cursor_refused_total", "bridge"), "{{bridge}} cursors not kept")], "ops"),
        series("Bridged bytes", "Of messages that brokers have taken.", [(rate("bridge_delivered_bytes_total", "bridge"), "{{bridge}}")], "Bps"),
        series("Behind a broker", "Entries of the inbox that a bridge has not handed over, bridges whose broker takes nothing, and bridges with a connection.", [(f"sum by (bridge) ({select('bridge_behind_entries')})", "{{bridge}} behind"), (f"sum({select('bridge_failing')})", "failing"), (f"sum({select('bridge_connected')})", "connected")], "none"),
        row("Outbox"),
        series("Held bytes", "bufferedAmount of all links, against outbox.max_bytes.", [(bare("buffered_amount_bytes"), "held"), (bare("outbox_limit_bytes"), "limit")], "bytes", dashed=["limit"]),
        series("Held messages", "Accepted and not yet handed to the network, against outbox.max_messages.", [(bare("outbox_messages"), "held"), (bare("outbox_limit_messages"), "limit")], "none", dashed=["limit"]),
        oldest(8, "instance", "{{instance}}"),
        series("Wait in the outbox", "How long written messages had been held.", quantiles("outbox_wait_seconds"), "s", 8),
        series("Paced", "Links that hold messages back by the rates of their outbox. Endpoints that are not paced have none.", [(f"sum(rate({select('outbox_paced_seconds_total')}[$__rate_interval]))", "links")], "none", 8),
        lost(8),
        row("Local consumers"),
        series("Consumers", "Readers of the inbox.", [(f"sum by (instance) ({select('consumers')})", "{{instance}}")], "none", 8),
        series("Gaps", "Told to consumers that fell out of the retained window, and the entries that they missed.",
               [(f"sum(rate({select('consumer_gaps_total')}[$__rate_interval]))", "gaps"), (f"sum(rate({select('consumer_missed_total')}[$__rate_interval]))", "entries missed")], "ops", 8),
        series("Durable inbox", "Entries that the disk has not yet; where it refuses, consumers have a gap after a restart. Refused variables: a session begins anew then.",
               [(bare("inbox_unstored_entries"), "not on disk yet"), (f"sum(increase({select('inbox_store_refused_total')}[$__rate_interval]))", "writes refused"), (f"sum(increase({select('session_variables_refused_total')}[$__rate_interval]))", "variables refused")], "none", 8),
    ]


BOARDS = {
    "overview.json": dashboard(
        "wskeeper-overview", "wskeeper / Overview", "All links of all wskeepers: what is wrong, and where to look.", overview(), {},
        [bring("Endpoint", "/d/wskeeper-endpoint?" + VARIABLES)], [RELOADS, REFUSALS, closes(False)],
    ),
    "endpoint.json": dashboard(
        "wskeeper-endpoint", "wskeeper / Endpoint", "One endpoint: its links, messages, queue and consumers.", endpoint(),
        {"multi": False, "includeAll": False}, [bring("Overview", "/d/wskeeper-overview?" + VARIABLES)], [RELOADS, REFUSALS, closes(True)],
    ),
}


def main():
    stale = []
    for name, board in BOARDS.items():
        path = pathlib.Path(__file__).with_name(name)
        text = json.dumps(board, indent=2, ensure_ascii=False) + "\n"
        if "--check" in sys.argv[1:]:
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                stale.append(name)
        else:
            path.write_text(text, encoding="utf-8")
    if stale:
        sys.exit(f"not up to date: {', '.join(stale)}; run dashboards/grafana/generate.py")


if __name__ == "__main__":
    main()
