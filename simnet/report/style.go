package report

// style is the whole style sheet of a page, which the page's policy allows by its hash.
const style = colours + pageStyle + plotStyle + printStyle

// Colours of curves are those of Okabe and Ito, which people tell apart who see colours differently; dashes tell them apart
// on paper.
const colours = `
:root{--paper:#fff;--ink:#1b1f24;--soft:#59636e;--line:#d5dae0;--tint:#f5f7f9;--bad:#b3261e;--badtint:#fdecea;--good:#1a6e3a;
--c0:#0072b2;--c1:#d55e00;--c2:#009e73;--c3:#cc79a7;--c4:#a07800;--c5:#3a9bd9;--c6:#444;--c7:#8a5a2b;
--on0:#1b1f24;--on1:#fff;--h0:#f3f6fb;--h1:#dbe6f3;--h2:#bfd5eb;--h3:#9fc2e2;--h4:#7babd6;--h5:#5792c8;--h6:#3a78b5;--h7:#265f9b;--h8:#17467c;--h9:#0b2f5b}
@media screen and (prefers-color-scheme:dark){:root{--paper:#14171b;--ink:#e6e9ed;--soft:#9aa4af;--line:#343a42;--tint:#1c2026;--bad:#ff8a80;--badtint:#3a1f1f;--good:#7bd49a;
--c0:#56b4e9;--c1:#ff9248;--c2:#3ccf9f;--c3:#e6a3c6;--c4:#e8c547;--c5:#8ab6ff;--c6:#c9ced6;--c7:#d2a679;
--on0:#e6e9ed;--on1:#0c1116;--h0:#1a2330;--h1:#1d2f47;--h2:#203d60;--h3:#234c7a;--h4:#2a5f97;--h5:#3775b2;--h6:#4f8fca;--h7:#74abdd;--h8:#a0c8ec;--h9:#d3e6f8}}
`

const pageStyle = `
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.45 system-ui,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:1120px;margin:0 auto;padding:24px 20px 60px}
h1{font-size:26px;margin:0 0 4px}
h2{font-size:18px;margin:32px 0 8px;padding-top:8px;border-top:1px solid var(--line)}
p{margin:4px 0 10px}
.question{font-size:17px;color:var(--soft)}
.hint{color:var(--soft);font-size:13.5px;max-width:80ch}
.facts{list-style:none;margin:12px 0;padding:0;display:flex;flex-wrap:wrap;gap:6px}
.facts li{border:1px solid var(--line);border-radius:4px;padding:1px 9px;font-size:13.5px}
.facts .bad{border-color:var(--bad);color:var(--bad);background:var(--badtint);font-weight:600}
.facts .good{border-color:var(--good);color:var(--good);font-weight:600}
.wide{overflow-x:auto}
.beside{display:flex;flex-wrap:wrap;gap:0 48px;align-items:flex-start}
table{border-collapse:collapse;font-size:13.5px;font-variant-numeric:tabular-nums}
th,td{text-align:right;padding:3px 10px;border-bottom:1px solid var(--line);font-weight:400;overflow-wrap:anywhere;vertical-align:top}
.numbers td,.figures td{white-space:nowrap}
.numbers tbody th{min-width:20ch}
thead th{color:var(--soft);font-size:12.5px;border-bottom:1px solid var(--soft)}
tr>:first-child{text-align:left;padding-left:4px}
.checks td,.checks th,.parameters td,.parameters th{text-align:left}
tbody th{font-family:ui-monospace,Consolas,"DejaVu Sans Mono",monospace;font-size:12.5px}
tr.bad{background:var(--badtint)}
tr.bad th,tr.bad td{color:var(--bad);font-weight:600}
.plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(420px,100%),1fr));gap:20px 24px}
figure{margin:0;break-inside:avoid}
`

// plotStyle is what a plot needs that stands alone.
const plotStyle = `
.plot{display:block;width:100%;height:auto;overflow:visible;font-family:inherit}
.plot text{fill:var(--ink);font-size:11px}
.plot .title{font-size:13.5px;font-weight:600}
.plot .note,.plot .axis,.plot .tick{fill:var(--soft)}
.plot .inside{font-weight:600}
.plot .note{font-size:10.5px}
.grid{stroke:var(--line);stroke-width:.7}
.frame{fill:none;stroke:var(--soft);stroke-width:.8}
.mark{stroke:var(--soft);stroke-width:1;stroke-dasharray:2 3}
.line{fill:none;stroke-width:1.8;stroke-linejoin:round}
.fit{fill:none;stroke-width:1;opacity:.75}
.plot .fit{stroke-dasharray:5 4}
.band{stroke:none;opacity:.2}
.bar{stroke-width:1.4;fill:none}
.c0{stroke:var(--c0)}.c1{stroke:var(--c1);stroke-dasharray:7 2}.c2{stroke:var(--c2);stroke-dasharray:2 2}.c3{stroke:var(--c3);stroke-dasharray:8 2 2 2}
.c4{stroke:var(--c4)}.c5{stroke:var(--c5);stroke-dasharray:7 2}.c6{stroke:var(--c6);stroke-dasharray:2 2}.c7{stroke:var(--c7);stroke-dasharray:8 2 2 2}
.band.c0,.dot.c0{fill:var(--c0)}.band.c1,.dot.c1{fill:var(--c1)}.band.c2,.dot.c2{fill:var(--c2)}.band.c3,.dot.c3{fill:var(--c3)}
.band.c4,.dot.c4{fill:var(--c4)}.band.c5,.dot.c5{fill:var(--c5)}.band.c6,.dot.c6{fill:var(--c6)}.band.c7,.dot.c7{fill:var(--c7)}
.plot .band{stroke:none}.plot .bar{stroke-dasharray:none}.plot .dot{stroke:none}
.plot .on0{fill:var(--on0)}.plot .on1{fill:var(--on1)}
.h0{fill:var(--h0)}.h1{fill:var(--h1)}.h2{fill:var(--h2)}.h3{fill:var(--h3)}.h4{fill:var(--h4)}
.h5{fill:var(--h5)}.h6{fill:var(--h6)}.h7{fill:var(--h7)}.h8{fill:var(--h8)}.h9{fill:var(--h9)}
`

const aloneStyle = `
.plot{font-family:system-ui,"Segoe UI",Roboto,Helvetica,Arial,sans-serif}
.paper{fill:var(--paper)}
`

const printStyle = `
@page{size:A4;margin:13mm}
@media print{body{font-size:10pt;-webkit-print-color-adjust:exact;print-color-adjust:exact}main{max-width:none;padding:0}
h1{font-size:17pt}h2{font-size:12.5pt;margin:14pt 0 5pt;break-after:avoid}.hint{font-size:8.5pt}
table{font-size:8pt}.numbers tbody th{min-width:0}thead th,tbody th{font-size:7.5pt}th,td{padding:1.5pt 4pt}tr{break-inside:avoid}.wide{overflow:visible}.beside{gap:0 24pt}
.plots{display:block;font-size:0}figure{display:inline-block;width:48.5%;vertical-align:top;margin:0 0 10pt}figure:nth-child(odd){margin-right:3%}}
`
