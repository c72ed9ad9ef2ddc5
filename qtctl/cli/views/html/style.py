"""How a page of evidence looks: light and dark, narrow and wide, and on A4."""

STYLE = """
:root { color-scheme: light dark; --ink: #1b2430; --soft: #566273; --rule: #d6dce4;
  --faint: #eef1f5; --page: #ffffff; --warn: #8a5a00; --warnbox: #fff4d6; --badbox: #fdecea;
  --goodbox: #e6f4ea; }
@media screen and (prefers-color-scheme: dark) { :root { --ink: #e4e9f0; --soft: #a3aebd;
  --rule: #364150; --faint: #1d2530; --page: #12181f; --warn: #f0c95a; --warnbox: #33290f;
  --badbox: #3a1d1b; --goodbox: #14301f; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { font: 16px/1.55 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif;
  color: var(--ink); background: var(--page); max-width: 72rem; margin: 0 auto;
  padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: .2rem 0 .6rem; letter-spacing: -.01em; }
h2 { font-size: 1.3rem; line-height: 1.3; margin: 2.8rem 0 .8rem; padding-top: .9rem;
  border-top: 2px solid var(--ink); }
h3 { font-size: 1.02rem; margin: 1.5rem 0 .4rem; }
p, ul { max-width: 46rem; margin: .5rem 0; }
ul { padding-left: 1.2rem; } li { margin: .3rem 0; }
.kind { color: var(--soft); font-size: .85rem; letter-spacing: .06em; text-transform: uppercase;
  margin: 0; }
.lead { font-size: 1.08rem; color: var(--soft); margin: 0 0 1rem; }
.strip { list-style: none; padding: 0; margin: 0 0 1.1rem; max-width: none; font-size: .86rem;
  color: var(--soft); overflow-wrap: anywhere; }
.strip li { display: inline; margin: 0; }
.strip li + li::before { content: " \\00b7  "; }
.verdict { display: inline-block; font-weight: 700; font-size: 1.25rem; padding: .35rem .9rem;
  border-radius: .4rem; border: 2px solid currentColor; margin: .2rem 0 .6rem; }
.good { color: var(--good); } .bad { color: var(--bad); } .warn { color: var(--warn); }
.verdict.good { background: var(--goodbox); } .verdict.bad { background: var(--badbox); }
.verdict.warn { background: var(--warnbox); }
.note { background: var(--warnbox); border-left: 4px solid var(--warn); padding: .55rem .9rem;
  max-width: 46rem; margin: .8rem 0; }
nav { font-size: .92rem; margin: 1.2rem 0 0; }
nav a { margin-right: 1.1rem; white-space: nowrap; }
a { color: inherit; text-decoration-color: var(--soft); text-underline-offset: .15em; }
.charts { margin: 1rem 0; }
@media screen and (min-width: 62rem) { .charts { columns: 2; column-gap: 2.4rem; } }
figure { margin: 0 0 2rem; break-inside: avoid; }
figcaption { font-weight: 600; margin-bottom: .5rem; max-width: 40rem; }
figcaption + svg.chart, .legend + svg.chart { margin-top: .2rem; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .1rem 1rem; padding: 0;
  margin: 0 0 .3rem; font-size: .84rem; color: var(--soft); }
.legend li { margin: 0; } .legend i { display: inline-block; width: .95em; height: .8em;
  margin-right: .4em; border-radius: 2px; background: var(--own); vertical-align: -.04em;
  -webkit-print-color-adjust: exact; print-color-adjust: exact; }
.legend i.line { height: 0; border-top: 3px solid var(--own); background: none;
  vertical-align: .25em; width: 1.5em; }
.legend i.line.dashed { border-top-style: dashed; }
.legend i.hatch { border: 1px solid var(--soft); background: repeating-linear-gradient(135deg,
  transparent 0 2px, var(--soft) 2px 3px); }
.small { font-size: .86rem; color: var(--soft); margin: .3rem 0 0; max-width: 46rem; }
.wide { overflow-x: auto; margin: 1rem 0 1.6rem; }
table { border-collapse: collapse; font-size: .9rem; min-width: min(100%, 30rem); }
caption { text-align: left; font-weight: 600; padding-bottom: .45rem; font-size: .95rem; }
caption small { display: block; font-weight: 400; color: var(--soft); font-size: .86rem; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--rule);
  vertical-align: top; }
tbody th, tbody td { white-space: nowrap; }
.prose, .id, .facts th, .facts td { white-space: normal; }
tbody .prose { min-width: 9rem; }
thead th { color: var(--soft); font-weight: 600; border-bottom: 2px solid var(--rule);
  vertical-align: bottom; }
tbody th { font-weight: 600; }
th.num, td.num { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap;
  padding-left: .8rem; }
thead th.num { white-space: normal; }
td.good, td.bad, td.warn { font-weight: 600; }
.id { overflow-wrap: anywhere; min-width: 7rem; }
.digest, pre { font-family: ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
.facts { width: 100%; max-width: 56rem; } .facts th { color: var(--soft); font-weight: 400;
  width: 12rem; padding-right: 1rem; } .facts td { overflow-wrap: anywhere; }
pre { overflow-x: auto; background: var(--faint); padding: .7rem .9rem; font-size: .84rem; }
details { margin: 1rem 0; } summary { cursor: pointer; font-weight: 600; }
footer { color: var(--soft); font-size: .86rem; margin-top: 3rem; border-top: 1px solid var(--rule);
  padding-top: .8rem; }
@media screen and (max-width: 40rem) {
  body { padding: 1.2rem 1rem 3rem; } h1 { font-size: 1.55rem; }
  .facts th, .facts td { display: block; width: auto; }
  .facts th { border: 0; padding-bottom: 0; } .facts td { padding-top: 0; }
}
@page { size: A4; margin: 16mm 15mm 18mm; }
@media print {
  :root { color-scheme: light; }
  html { font-size: 10pt; }
  body { font-size: 10pt; line-height: 1.42; max-width: none; padding: 0; }
  h1 { font-size: 19pt; } h2 { font-size: 13.5pt; margin: 16pt 0 6pt; padding-top: 6pt; }
  h3 { font-size: 10.5pt; }
  h1, h2, h3, caption { break-after: avoid; }
  p, ul, .note, .facts { max-width: none; }
  nav { display: none; } a { text-decoration: none; }
  .charts { columns: 1; } figure { margin: 0 0 14pt; }
  svg.chart { max-width: 13.5cm; }
  .wide { overflow: visible; } table { font-size: 8.6pt; width: 100%; }
  thead { display: table-header-group; } tr { break-inside: avoid; }
  th, td, th.num, td.num { padding: 2pt 6pt 2pt 0; } tbody th, tbody td { white-space: normal; }
  tbody .prose { min-width: 0; } tbody .id { min-width: 6.8rem; } table { min-width: 0; }
  td.good, td.bad, td.warn { white-space: nowrap; }
  .short { break-inside: avoid; }
  /* What is closed on the screen is open on paper. */
  details::details-content { content-visibility: visible; display: block; height: auto; }
  summary { list-style: none; }
}
"""
