//! The report's style sheet.

/// Light and dark by the reader's setting; one column on a phone.
pub(super) const CSS: &str = r#":root {
  color-scheme: light dark;
  --bg: #f6f6f3; --card: #ffffff; --ink: #1c1e22; --soft: #646a73; --line: #e2e3df; --track: #f1f1ee;
  --s0: #2a63c4; --s1: #0e8784; --s2: #d07a0b; --s3: #7a4fbe; --s4: #b5345f; --s5: #5c7d22; --s6: #8a5a2b; --s7: #4d5b6b;
  --worse: #b3261e; --better: #1d6f3b; --warn: #8a5300; --warn-bg: #fdf1dc;
}
@media (prefers-color-scheme: dark) {
  :root {
    --bg: #101215; --card: #181b20; --ink: #e9eaed; --soft: #9ba2ad; --line: #2b2f36; --track: #20242a;
    --s0: #6c9dff; --s1: #45bdb7; --s2: #f0a23c; --s3: #b292f5; --s4: #ef7aa1; --s5: #a3c75a; --s6: #d6a673; --s7: #a9b8c9;
    --worse: #ff8f85; --better: #6fd195; --warn: #f5bd62; --warn-bg: #33280f;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 68rem; padding: 0 1.25rem 3rem; background: var(--bg); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
  -webkit-text-size-adjust: 100%;
}
.top { display: flex; align-items: center; gap: .5rem; padding: 1.25rem 0; font-weight: 650; letter-spacing: -.01em; }
.mark { width: 1.1rem; height: 1.1rem; border-radius: .3rem; background: linear-gradient(135deg, var(--s0) 50%, var(--s1) 50%); }
.soft { color: var(--soft); font-weight: 400; }
h1 { margin: 1rem 0 0; font-size: clamp(1.7rem, 5vw, 2.4rem); line-height: 1.15; letter-spacing: -.025em; overflow-wrap: anywhere; }
h2 { margin: 0 0 .25rem; font-size: 1.1rem; letter-spacing: -.01em; }
h3 { margin: 1.1rem 0 .4rem; font-size: .88rem; font-weight: 550; }
.lead { margin: .4rem 0 1.4rem; color: var(--soft); font-size: 1.05rem; }
.card p { margin: 0 0 1rem; max-width: 46rem; font-size: .9rem; }
.card .bars + p { margin-top: 1.3rem; }
.card { margin: 1rem 0; padding: 1.25rem 1.4rem 1.4rem; background: var(--card); border: 1px solid var(--line); border-radius: .8rem; }
.model + .model { margin-top: 3.5rem; border-top: 1px solid var(--line); padding-top: 1rem; }
.tiles { display: flex; flex-wrap: wrap; gap: 1px; overflow: hidden;
  background: var(--line); border: 1px solid var(--line); border-radius: .8rem; }
.tile { flex: 1 1 10.5rem; padding: 1rem 1.2rem; background: var(--card); }
.tile b { display: block; font-size: 1.55rem; font-weight: 650; letter-spacing: -.02em; line-height: 1.2; }
.tile span { color: var(--soft); font-size: .82rem; }
.scroll { overflow-x: auto; margin: .75rem -1.4rem 0; padding: 0 1.4rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .88rem; white-space: nowrap; }
th, td { padding: .45rem .7rem; text-align: right; border-bottom: 1px solid var(--line); font-weight: 400; vertical-align: top; }
th:first-child { padding-left: 0; }
th:first-child, .words { text-align: left; }
td:last-child, th:last-child { padding-right: 0; }
tbody th { min-width: 10rem; max-width: 18rem; font-weight: 550; white-space: normal; overflow-wrap: anywhere; }
th:first-child { position: sticky; left: 0; background: var(--card); }
td.change { min-width: 7rem; white-space: normal; }
td.words { min-width: 11rem; max-width: 22rem; white-space: normal; overflow-wrap: anywhere; }
td.worse { color: var(--worse); font-weight: 600; }
td.better { color: var(--better); }
.warn { color: var(--warn); }
.card p.doubt { margin: .15rem 0 .3rem; padding: .2rem .55rem; border-radius: .35rem; background: var(--warn-bg); color: var(--warn); font-size: .8rem; }
.doubt::before { content: "⚠ In doubt: "; font-weight: 600; }
thead th { color: var(--soft); font-size: .8rem; }
tbody tr:last-child > * { border-bottom: 0; }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; margin: 0 0 .9rem; padding: 0; list-style: none; font-size: .85rem; }
.legend i { display: inline-block; width: .7rem; height: .7rem; margin-right: .45rem; border-radius: .2rem; }
.row { display: grid; grid-template-columns: minmax(6rem, 13rem) 1fr; gap: .9rem; align-items: center; padding: .22rem 0; }
.row + .row { border-top: 1px solid var(--track); }
.name { color: var(--ink); font-size: .82rem; line-height: 1.3; overflow-wrap: anywhere; }
.line { display: grid; grid-template-columns: 1fr 4.9rem; gap: .6rem; align-items: center; }
.line svg { display: block; width: 100%; height: .62rem; overflow: hidden; border-radius: 2px; background: var(--track); }
.value { color: var(--soft); font-size: .78rem; line-height: 1.35; font-variant-numeric: tabular-nums; text-align: right; white-space: nowrap; }
.s0 { fill: var(--s0); background: var(--s0); } .s1 { fill: var(--s1); background: var(--s1); }
.s2 { fill: var(--s2); background: var(--s2); } .s3 { fill: var(--s3); background: var(--s3); }
.s4 { fill: var(--s4); background: var(--s4); } .s5 { fill: var(--s5); background: var(--s5); }
.s6 { fill: var(--s6); background: var(--s6); } .s7 { fill: var(--s7); background: var(--s7); }
.whisker { stroke: var(--ink); stroke-width: 1.5; opacity: .65; }
.plot { position: relative; height: 19rem; margin: 1.2rem 1rem 2.2rem 3.6rem; font-size: .8rem; font-variant-numeric: tabular-nums; }
.plot svg { position: absolute; inset: 0; width: 100%; height: 100%; overflow: visible; }
.plot span { position: absolute; color: var(--soft); white-space: nowrap; }
.plot .y { right: 100%; margin-right: .7rem; transform: translateY(-50%); }
.plot .x { top: 100%; margin-top: .5rem; transform: translateX(-50%); }
.plot .ref { padding: 0 .3rem .15rem 0; transform: translateY(-100%); }
.plot .point { color: var(--soft); line-height: 1.3; }
.plot .point i { font-style: normal; }
.plot .point b { color: var(--ink); font-weight: 600; }
.plot .point.right { margin-left: .8rem; transform: translateY(.35rem); }
.plot .point.left { transform: translate(calc(-100% - .8rem), .35rem); text-align: right; }
.grid { stroke: var(--line); }
.reference { stroke: var(--soft); stroke-dasharray: 5 4; }
.join { stroke: var(--soft); stroke-width: 1.5; opacity: .45; }
.dot { stroke: var(--card); stroke-width: 2; }
.dot.hollow { fill: var(--card); stroke: var(--soft); stroke-width: 1.5; }
.panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 1.4rem 2rem; }
figure { min-width: 0; margin: 0; }
figcaption { font-size: .85rem; font-weight: 550; overflow-wrap: anywhere; }
.plot.low { height: 8.5rem; margin: .8rem 1.2rem 2rem .4rem; border-bottom: 1px solid var(--line); }
.plot.timed { margin-left: 4.2rem; }
.mark-line { stroke: var(--ink); stroke-dasharray: 4 3; opacity: .6; }
.over-time { fill: none; stroke-width: 2; vector-effect: non-scaling-stroke; stroke-linejoin: round; }
.l0 { stroke: var(--s0); } .l1 { stroke: var(--s1); } .l2 { stroke: var(--s2); } .l3 { stroke: var(--s3); }
.l4 { stroke: var(--s4); } .l5 { stroke: var(--s5); } .l6 { stroke: var(--s6); } .l7 { stroke: var(--s7); }
details { border-top: 1px solid var(--line); padding: .2rem 0; }
details:first-of-type { border-top: 0; }
summary { padding: .45rem 0; cursor: pointer; font-weight: 550; }
footer { margin-top: 2rem; color: var(--soft); font-size: .82rem; }
@media (max-width: 40rem) {
  body { padding: 0 .8rem 2rem; font-size: 14px; }
  .card { padding: 1rem 1rem 1.1rem; }
  .scroll { margin: .75rem -1rem 0; padding: 0 1rem; }
  .row { grid-template-columns: 1fr; gap: .1rem; padding: .35rem 0; }
  .tile { flex-basis: 40%; padding: .8rem 1rem; }
  .plot .point i { display: none; }
  .plot { height: 15rem; margin-left: 3.2rem; }
  tbody th { min-width: 8rem; max-width: 9.5rem; }
}
@media print { body { max-width: none; } .card { break-inside: avoid; } }
"#;
