"""The style of the report: light, dark and on paper."""

CSS = """
:root { --paper:#fdfdfc; --card:#ffffff; --ink:#1f2429; --soft:#5c6670; --faint:#c3c9d0; --rule:#e2e5e8; --good:#2f7d54;
  --bad:#b04a2f;
  --note:#55708c; --sans:'DejaVu Sans','Segoe UI','Helvetica Neue',Arial,sans-serif; }
@media (prefers-color-scheme: dark) { :root { --paper:#16191c; --card:#1e2226; --ink:#e3e6e8; --soft:#9aa4ad;
  --faint:#515a63; --rule:#30363c;
  --good:#6cc096; --bad:#e08b6d; --note:#93b1d0; } }
@media print { :root { --paper:#fff; --card:#fff; --ink:#111; --soft:#444; --faint:#bbb; --rule:#ccc; --good:#1d6b43;
  --bad:#96361d; --note:#34506d; }
  section, figure, tr { break-inside: avoid; } }
* { box-sizing: border-box; }
body { margin:0; background:var(--paper); color:var(--ink); font:15px/1.5 var(--sans); }
main { max-width:1120px; margin:0 auto; padding:28px 24px 48px; }
h1 { font-size:24px; margin:0 0 2px; font-weight:600; } h2 { font-size:18px; margin:40px 0 6px; font-weight:600; }
h3 { font-size:14px; margin:0; font-weight:600; }
p { margin:6px 0; max-width:76ch; } .sub, figcaption, .cap { color:var(--soft); font-size:13px; } figcaption { max-width:92ch; }
.said { border:1px solid var(--rule); border-left:4px solid var(--note); background:var(--card); padding:12px 18px;
  margin:18px 0; border-radius:4px; }
.said p.first { font-size:17px; max-width:none; } .said ul { list-style:none; padding:0; margin:8px 0 0; }
  .said li { padding:2px 0 2px 24px; position:relative; }
.said li::before { position:absolute; left:2px; font-weight:700; } li.good::before { content:"\\2713"; color:var(--good); }
li.bad::before { content:"\\2717"; color:var(--bad); } li.note::before { content:"i"; color:var(--note); left:6px; }
.cards { display:grid; grid-template-columns:repeat(auto-fill,minmax(340px,1fr)); gap:12px; margin:14px 0; }
.card { display:grid; grid-template-columns:auto 1fr; gap:2px 14px; align-items:center; border:1px solid var(--rule);
  border-left:4px solid var(--bad); background:var(--card); border-radius:4px; padding:10px 14px; }
.card.good { border-left-color:var(--good); } .card.note { border-left-color:var(--note); }
.card img { width:112px; display:block; border-radius:2px; } .card p { margin:1px 0; } .card .why { grid-column:1/-1; }
.card .word { font-size:19px; font-weight:600; color:var(--bad); line-height:1.25; }
.card.good .word { color:var(--good); } .card.note .word { color:var(--note); }
h2.next { margin-top:18px; } ul.next { margin:6px 0; padding-left:20px; } ul.next li { max-width:100ch; padding:1px 0; }
table { border-collapse:collapse; font-size:13.5px; font-variant-numeric:tabular-nums; margin:8px 0; }
th, td { padding:4px 12px 4px 0; text-align:right; border-bottom:1px solid var(--rule); vertical-align:top; }
  th { font-weight:600; color:var(--soft); }
th:first-child, td:first-child, td.text, th.text { text-align:left; } td.text { max-width:70ch; overflow-wrap:anywhere; }
th button { all:unset; cursor:pointer; position:relative; } th button:hover { color:var(--ink); text-decoration:underline; }
th button:focus-visible { outline:2px solid var(--note); outline-offset:2px; border-radius:2px; }
th button::after { position:absolute; left:100%; width:11px; text-align:center; }
[aria-sort] button { color:var(--ink); } [aria-sort=ascending] button::after { content:"\\25B4"; }
[aria-sort=descending] button::after { content:"\\25BE"; }
.wide { overflow-x:auto; }
.dot { display:inline-block; width:11px; height:11px; border-radius:50%; margin-right:7px; vertical-align:-1px; }
.vol { background:var(--card); border:1px solid var(--rule); border-radius:4px; padding:8px 10px 10px; margin:8px 0; }
.vol .cap { margin-left:8px; font-weight:400; }
.tiles { display:grid; grid-template-columns:1.3fr 1.3fr repeat(6,1fr); gap:6px; align-items:center; margin-top:4px; }
.tiles + .tiles { margin-top:6px; padding-top:4px; border-top:1px dashed var(--rule); }
.beside { display:grid; grid-template-columns:repeat(auto-fit,minmax(430px,1fr)); gap:18px; }
.tiles figure { margin:0; } .tiles img { width:100%; display:block; border-radius:2px; }
.tiles figcaption { font-size:11px; text-align:center; line-height:1.3; padding-top:2px; }
.who { grid-column:1/-1; font-size:12.5px; color:var(--soft); }
figure { margin:10px 0; } figure svg { width:100%; height:auto; display:block; color:var(--ink); overflow:visible; }
figure svg image { image-rendering:auto; }
.pairs { display:flex; flex-wrap:wrap; gap:10px; margin:4px 0 14px; } .pairs figure { margin:0; width:168px; }
.pairs .two { display:flex; gap:3px; } .pairs img { width:82px; display:block; border-radius:2px; }
  .pairs figcaption { font-size:11.5px; }
.gone { color:var(--bad); } footer { margin-top:44px; border-top:1px solid var(--rule); padding-top:10px; color:var(--soft);
  font-size:12.5px; }
@media (max-width:760px) { .tiles { grid-template-columns:repeat(3,1fr); } }
"""
