// Status of a run: badge, progress, metrics, warnings, convergence and log.

import { drawChart } from "./chart.js";
import { describeProgress, element, formatDate } from "./elements.js";
import { isLive, liveBadge } from "./live.js";

export const STATUS = {
  finished: "finished",
  running: "in progress",
  silent: "no recent output",
  failed: "failed",
  file: "file",
  unreadable: "cannot be read",
};

const CHANGED = {
  finished: "Finished",
  running: "Last output",
  silent: "Last output",
  failed: "Failed",
  file: "Written",
  unreadable: "",
};

export function statusBadge(run) {
  if (isLive(run)) return liveBadge(run.live);
  if (run.warnings?.length) return [`${run.warnings.length} warning${run.warnings.length > 1 ? "s" : ""}`, "warn"];
  if (run.status === "finished" && run.warnings) return ["no warning", "good"];
  return [STATUS[run.status], { running: "live", failed: "warn", silent: "warn" }[run.status] ?? ""];
}

export class StatusPanel {
  constructor(root, badge) {
    this.root = root;
    this.badge = badge;
    this.find = (name) => root.querySelector(`[data-run=${name}]`);
    new ResizeObserver(() => this.draw()).observe(this.find("curve"));
  }

  show(run) {
    this.run = run;
    this.showBadge(run);
    const { done, total } = run.progress;
    const active = ["running", "silent"].includes(run.status);
    this.find("progress").hidden = !(active && total);
    if (active && total) {
      Object.assign(this.find("bar"), { max: total, value: done });
      this.find("progress-text").textContent = describeProgress(run.progress);
    }
    this.find("report").hidden = !run.report;
    this.find("report").href = `/run/${run.id}/report`;
    const changed = `${CHANGED[run.status]} ${formatDate(run.changed)}`;
    this.find("date").textContent = [run.stage, changed].filter(Boolean).join(" · ");
    this.find("metrics").replaceChildren(...run.metrics.map(({ label, value, unit, meaning }) =>
      element("div", [element("dt", label), element("dd", `${value} ${unit}`.trim())], { title: meaning })));
    this.find("warnings").replaceChildren(...(run.warnings ?? []).map((text) => element("li", text)));
    this.find("error").textContent = run.error ?? "";
    this.find("error").hidden = !run.error;
    const log = this.find("log");
    const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
    log.textContent = run.log.join("\n");
    if (atEnd) log.scrollTop = log.scrollHeight;
    this.find("log-section").hidden = !run.log.length;
    this.draw();
  }

  showBadge(run) {
    const [text, kind] = statusBadge(run);
    this.badge.textContent = text;
    this.badge.className = `badge ${kind}`;
  }

  draw() {
    const colours = ["--accent", "--second"];
    const lines = Object.entries(this.run?.curves ?? {}).slice(0, 2)
      .filter(([, points]) => points.length > 1)
      .map(([name, points], k) => (
        { name, x: points.map(([x]) => x), y: points.map(([, y]) => y), colour: colours[k], dashed: k > 0 }));
    this.find("curve-section").hidden = !lines.length;
    if (!lines.length) return;
    const positive = lines.every((line) => line.y.every((value) => value > 0));
    const xLabel = "train_loss" in this.run.curves ? "epoch" : "iteration";
    drawChart(this.find("curve"), lines, { xLabel, logarithmic: positive });
    this.find("curve-legend").textContent = lines.map(({ name }) => name.replaceAll("_", " ")).join(", dashed: ");
  }
}
