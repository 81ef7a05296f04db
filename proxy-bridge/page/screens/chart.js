// @ts-check
// A chart of a few lines over time, drawn by uPlot. Its numbers are beside it, as text.

import { charts, html, useEffect, useRef, useState } from "../lib.js";
import { Failure, Loading } from "../parts.js";

const HEIGHT = 170;
// Seconds that a chart shows at least.
const LEAST = 60;
const DAY = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  hourCycle: "h23",
});

let styled = false;

// Returns the library, once it is loaded, or why it is not.
export function useCharts() {
  const [loaded, setLoaded] = useState(/** @type {{plot?: any, error?: any}} */ ({}));
  useEffect(() => {
    if (!styled) {
      const link = document.createElement("link");
      link.rel = "stylesheet";
      link.href = "vendor/uplot.css";
      document.head.append(link);
      styled = true;
    }
    charts().then((plot) => setLoaded({ plot }), (error) => setLoaded({ error }));
  }, []);
  return loaded;
}

// Counts changes of the theme: a canvas does not follow it.
function useTheme() {
  const [count, setCount] = useState(0);
  useEffect(() => {
    const again = () => setCount((before) => before + 1);
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const chosen = new MutationObserver(again);
    dark.addEventListener("change", again);
    chosen.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    return () => {
      dark.removeEventListener("change", again);
      chosen.disconnect();
    };
  }, []);
  return count;
}

/**
 * `times` are seconds. Charts of one `group` share a cursor. Something happened at each of `marks`.
 * @param {{
 *   title: string, group: string, loaded: {plot?: any, error?: any}, times: number[],
 *   lines: {label: string, colour: string, dash?: number[], values: (number | null)[]}[],
 *   marks: number[], show: (value: number) => string, steps?: number[],
 * }} props
 */
export function Chart({ title, group, loaded: { plot, error }, times, lines, marks, show, steps }) {
  const box = useRef();
  const chart = useRef(undefined);
  const [cursor, setCursor] = useState(/** @type {number | undefined} */ (undefined));
  const theme = useTheme();
  const latest = useRef(marks);
  latest.current = marks;
  const data = [times, ...lines.map((line) => line.values)];
  useEffect(() => {
    if (!plot) return;
    // A custom property is not a colour yet.
    const colour = (name) => {
      box.current.style.color = `var(${name})`;
      return getComputedStyle(box.current).color;
    };
    const [dim, edge] = [colour("--dim"), colour("--line")];
    const axis = {
      stroke: dim,
      grid: { stroke: edge, width: 1 },
      ticks: { stroke: edge, width: 1 },
    };
    const font = `11px ${getComputedStyle(box.current).fontFamily}`;
    const drawn = {
      width: box.current.clientWidth,
      height: HEIGHT,
      legend: { show: false },
      cursor: { sync: { key: group }, drag: { x: false, y: false } },
      scales: {
        x: {
          range: ({ data: [times] }) => [Math.min(times[0], times.at(-1) - LEAST), times.at(-1)],
        },
        y: { range: (_, __, highest) => [0, highest > 0 ? highest * 1.1 : 1] },
      },
      axes: [
        {
          ...axis,
          font,
          values: (_, ticks) => ticks.map((tick) => DAY.format(tick * 1000)),
        },
        {
          ...axis,
          font,
          size: 64,
          incrs: steps,
          values: (_, ticks) => ticks.map((tick) => tick === 0 ? "0" : show(tick)),
        },
      ],
      series: [
        {},
        ...lines.map(({ label, colour: name, dash }) => ({
          label,
          dash,
          stroke: colour(name),
          width: 1.5,
          points: { size: 5, filter: lonely },
        })),
      ],
      hooks: {
        setCursor: [(made) => setCursor(made.cursor.idx ?? undefined)],
        draw: [(made) => drawMarks(made, latest.current, dim)],
      },
    };
    const element = box.current;
    const made = new plot(drawn, data, element);
    chart.current = made;
    const size = new ResizeObserver(() =>
      made.setSize({ width: element.clientWidth, height: HEIGHT })
    );
    size.observe(element);
    return () => {
      size.disconnect();
      chart.current = undefined;
      made.destroy();
    };
  }, [plot, theme]);
  useEffect(() => chart.current?.setData(data), [times, ...lines.map((line) => line.values)]);
  const at = cursor ?? times.length - 1;
  const value = (line) => line.values[at] === null ? "–" : show(line.values[at]);
  const now = lines.map((line) => `${line.label} ${value(line)}`).join(", ");
  return html`
    <figure class="chart">
      <figcaption><b>${title}</b> <span class="dim small">${DAY.format(
        times[at] * 1000,
      )}</span>${lines
        .map((line) =>
          html`
            <span key=${line.label}
              class="key"><${Stroke} line=${line} />${line.label} <b>${value(
                line,
              )}</b></span>
          `
        )}</figcaption>
      ${error ? html`<${Failure} error=${error} />` : !plot && html`<${Loading} />`}
      <div ref=${box} role="img" aria-label=${`${title}: ${now}`}></div>
    </figure>
  `;
}

// A piece of a line, as it is drawn.
function Stroke({ line: { colour, dash } }) {
  return html`
    <svg class=${`stroke ${colour.slice(2)}`} viewBox="0 0 22 4" aria-hidden="true">
      <line x1="0" x2="22" y1="2" y2="2" stroke-dasharray=${dash?.join(" ")} />
    </svg>
  `;
}

// The values without another one beside them, which no line shows.
function lonely({ data }, line) {
  const values = data[line];
  return [...values.keys()].filter((index) =>
    values[index] !== null && (values[index - 1] ?? values[index + 1] ?? null) === null
  );
}

function drawMarks({ ctx, bbox, valToPos }, marks, colour) {
  ctx.save();
  ctx.strokeStyle = colour;
  ctx.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
  ctx.beginPath();
  for (const mark of marks) {
    const x = Math.round(valToPos(mark, "x", true));
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
  }
  ctx.stroke();
  ctx.restore();
}
