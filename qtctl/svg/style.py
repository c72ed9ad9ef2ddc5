"""What the parts of a chart look like. The colours differ for the colour-blind (Okabe and Ito), and
each is lighter on a dark page."""

STYLE = """
:root { --c1: #0072b2; --c2: #d55e00; --c3: #009e73; --c4: #c08a00; --c5: #b3598f; --c6: #4aa3d8;
  --c7: #6d4c2f; --c0: #8a94a3; --good: #1a7f45; --bad: #c4362c; }
@media (prefers-color-scheme: dark) { html.both { --c1: #56b4e9; --c2: #ff8a3d; --c3: #2cc79b;
  --c4: #f0c95a; --c5: #e79bc6; --c6: #a9d8f7; --c7: #c9a27e; --c0: #95a0b0; --good: #5cc98a;
  --bad: #ff8077; } }
svg.chart { width: 100%; max-width: 44rem; height: auto; font: 12.5px system-ui, sans-serif;
  display: block; }
svg.chart text { fill: currentColor; }
svg.chart .axis { stroke: currentColor; opacity: .45; fill: none; }
svg.chart .grid { stroke: currentColor; opacity: .13; }
svg.chart .line { fill: none; stroke: var(--c1); stroke-width: 2; stroke-linejoin: round; }
svg.chart .dashed { stroke-dasharray: 6 4; }
svg.chart .point { stroke: none; }
svg.chart .mark { stroke: currentColor; stroke-width: 1.5; stroke-dasharray: 3 3; }
svg.chart .unknown { stroke: currentColor; opacity: .38; fill: none; }
svg.chart .good { fill: var(--good); } svg.chart .bad { fill: var(--bad); }
.c0 { --own: var(--c0); } .c1 { --own: var(--c1); } .c2 { --own: var(--c2); }
.c3 { --own: var(--c3); } .c4 { --own: var(--c4); } .c5 { --own: var(--c5); }
.c6 { --own: var(--c6); } .c7 { --own: var(--c7); }
svg.chart .fill { fill: var(--own); } svg.chart .line.own { stroke: var(--own); }
@media screen and (max-width: 40rem) { svg.chart { font-size: 16px; } }
"""
