// Jobs as a list: state, progress, log, and buttons that finish, cancel, resume and remove them.

import { fetchJson, post, reasonOf } from "./api.js";
import { describeProgress, element, formatDate } from "./elements.js";

const BADGES = { running: "live", finished: "good", failed: "warn", interrupted: "warn" };
const LABELS = { finish: "Finish now", cancel: "Cancel", resume: "Resume", remove: "Remove" };
const HELP = { finish: "Receive no more, and finish with the frames that have come", remove: "Remove this entry; the run stays" };
export const readOnly = document.body.hasAttribute("data-read-only");

class JobItem {
  constructor(changed) {
    this.changed = changed;
    this.badge = element("span", "");
    this.title = element("a", "");
    this.when = element("span", "", { className: "muted" });
    this.reason = element("p", "", { className: "notice warn", hidden: true });
    this.bar = element("progress", "");
    this.progress = element("p", "", { className: "muted progress" });
    this.line = element("pre", "");
    this.log = element("pre", "", { tabIndex: 0 });
    this.details = element("details", [element("summary", "Command line and output"), this.line, this.log]);
    this.details.addEventListener("toggle", () => this.showLog());
    this.buttons = Object.fromEntries(Object.entries(LABELS).map(([action, label]) => {
      const button = element("button", label, { hidden: true, title: HELP[action] ?? "" });
      button.addEventListener("click", () => this.act(action));
      return [action, button];
    }));
    this.open = element("a", "Open the run", { className: "button", hidden: true });
    const head = element("div", [this.badge, element("h3", this.title), this.when], { className: "job-head" });
    const row = element("div", [this.open, ...Object.values(this.buttons)], { className: "row" });
    this.node = element("li", [head, this.bar, this.progress, this.reason, row, this.details], { className: "job" });
  }

  show(job) {
    this.job = job;
    this.node.dataset.state = job.state;
    this.badge.textContent = job.stopping ? "stopping" : job.finishing ? "finishing" : job.state;
    this.badge.className = `badge ${BADGES[job.state] ?? ""}`;
    this.title.textContent = `${job.command} ${job.scan}`;
    if (job.scan_id) this.title.href = `/scan/${job.scan_id}`;
    else this.title.removeAttribute("href"); // a stream
    this.when.textContent = formatDate(job.ended || job.started || job.created);
    const running = job.state === "running";
    const { total, done } = job.progress;
    this.bar.hidden = this.progress.hidden = !running;
    if (running && total) Object.assign(this.bar, { max: total, value: done });
    else this.bar.removeAttribute("value");
    this.progress.textContent = total ? describeProgress(job.progress) : job.receiving ? "Waiting for frames …" : "Reading the scan …";
    this.reason.textContent = job.reason;
    this.reason.hidden = !job.reason;
    this.open.hidden = !job.has_run || location.pathname === `/run/${job.run}`;
    this.open.href = `/run/${job.run}`;
    const ended = !["queued", "running"].includes(job.state);
    this.buttons.finish.hidden = readOnly || !job.receiving;
    this.buttons.finish.disabled = job.finishing;
    this.buttons.cancel.hidden = readOnly || ended;
    this.buttons.cancel.disabled = job.stopping;
    this.buttons.resume.hidden = readOnly || !ended || job.state === "finished";
    this.buttons.remove.hidden = readOnly || !ended;
    this.line.textContent = job.line;
    this.showLog();
  }

  async showLog() {
    if (!this.details.open) return;
    const { log } = await fetchJson(`/api/jobs/${this.job.id}/log`).catch(() => ({ log: [] }));
    this.log.textContent = log.join("\n");
    this.log.hidden = !log.length;
  }

  async act(action) {
    this.buttons[action].disabled = true;
    try {
      await post(`/api/jobs/${this.job.id}/${action}`);
      await this.changed();
    } catch (error) {
      this.reason.textContent = reasonOf(error);
      this.reason.hidden = false;
    }
    this.buttons[action].disabled = false;
  }
}

export class JobList {
  // Jobs for which `filter` returns true, in a section with two lists: those on show, and earlier ones folded away.
  // `kept` is the number of jobs that stay on show after their end; finished ones do not where `hidesFinished`.
  constructor(root, { filter = () => true, kept = 3, hidesFinished = false } = {}) {
    this.root = root;
    this.filter = filter;
    this.kept = kept;
    this.hidesFinished = hidesFinished;
    this.find = (name) => root.querySelector(`[data-jobs=${name}]`);
    this.items = new Map();
  }

  async refresh() {
    const jobs = (await fetchJson("/api/jobs")).jobs.filter(this.filter);
    const items = new Map();
    for (const job of jobs) {
      const item = this.items.get(job.id) ?? new JobItem(() => this.refresh());
      item.show(job);
      items.set(job.id, item);
    }
    this.items = items;
    const ended = jobs.filter(({ state }) => state !== "queued" && state !== "running");
    const folded = new Set(ended.filter(({ state }, k) => k >= this.kept || (this.hidesFinished && state === "finished")));
    const shown = jobs.filter((job) => !folded.has(job)).sort((a, b) => place(a) - place(b));
    fill(this.find("active"), shown.map((job) => items.get(job.id).node));
    fill(this.find("ended"), [...folded].map((job) => items.get(job.id).node));
    this.find("earlier").hidden = !folded.size;
    this.root.hidden = !jobs.length;
    return jobs;
  }
}

// Running jobs come first, then those that wait in the order of their starts, then the latest that have ended.
function place({ state, created }) {
  if (state === "running") return -Infinity;
  return state === "queued" ? Date.parse(created) - 1e15 : -Date.parse(created) + 1e15;
}

// Put nodes into a list; it stays as it is where they are there already.
function fill(list, nodes) {
  const same = nodes.length === list.children.length && nodes.every((node, k) => node === list.children[k]);
  if (!same) list.replaceChildren(...nodes);
}
