"""The page's style: one column on a phone, two on a desk, light or dark as the reader's system is."""

CSS = """
:root { color-scheme: light dark; --ink: #1f2328; --muted: #656d76; --line: #d8dce2; --page: #f6f7f9; --card: #ffffff;
  --blue: #0072b2; --vermillion: #d55e00; --green: #009e73; --purple: #b5508f; --sky: #3a9bd6;
  --right: #0b6e4f; --right-soft: #dcf3ea; --wrong: #a63f00; --wrong-soft: #fde8da; --mark: #fff1b3; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ee; --muted: #98a1ad; --line: #363c45; --page: #111418; --card: #1a1e24;
    --blue: #4aa8e0; --vermillion: #ff8a3c; --green: #2cc597; --purple: #e08dc2; --sky: #8accf2;
    --right: #4fd1a5; --right-soft: #12352a; --wrong: #ff9d5c; --wrong-soft: #41230f; --mark: #5d4c00; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; max-width: 76rem; padding: 1rem; background: var(--page); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Noto Sans CJK SC", sans-serif; }
h1 { font-size: 1.6rem; margin: .5rem 0; } h2 { font-size: 1.3rem; margin: 2.5rem 0 .5rem; overflow-wrap: anywhere; }
h3 { font-size: 1.05rem; margin: 1.5rem 0 .5rem; } h4 { font-size: .95rem; margin: 0 0 .4rem; }
h4.kind { margin-top: 1.2rem; }
p { margin: .5rem 0; max-width: 46rem; }
nav { display: flex; flex-wrap: wrap; gap: .25rem 1rem; } a { color: var(--blue); }
.note, figcaption, .meta { color: var(--muted); font-size: .85rem; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .8rem; margin: 0;
  min-width: 0; }
.plots { display: grid; gap: .8rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 26rem), 1fr));
  align-items: start; }
figure { overflow-x: auto; }
figure svg { display: block; height: auto; } figure h4 { margin: 0 0 .4rem; } figcaption { margin-top: .4rem; }
figure.paper { border-style: dashed; } figure.paper svg { width: 72% !important; margin: 0 auto; }
.scroll { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .9rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td:first-child { white-space: nowrap; } .config td:first-child { white-space: normal; }
td.number, th.number { text-align: right; white-space: nowrap; }
.config td { font-size: .8rem; overflow-wrap: anywhere; }
pre { margin: .3rem 0; white-space: pre-wrap; overflow-wrap: anywhere; unicode-bidi: isolate; font-size: .85rem;
  line-height: 1.5; font-family: ui-monospace, Menlo, Consolas, "Noto Sans Mono CJK SC", monospace; }
pre.graph { white-space: pre; overflow-x: auto; line-height: 1.35; }
pre.long { max-height: 24rem; overflow-y: auto; }
.text { unicode-bidi: isolate; overflow-wrap: anywhere; }
.moments { display: grid; gap: .6rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 15rem), 1fr));
  align-items: start; }
.moment { border-left: 4px solid var(--muted); }
.moment.right { border-left-color: var(--right); } .moment.wrong { border-left-color: var(--wrong); }
.verdict { font-weight: 600; font-size: .85rem; padding: .05rem .45rem; border-radius: .3rem; white-space: nowrap; }
.right .verdict { color: var(--right); background: var(--right-soft); }
.wrong .verdict { color: var(--wrong); background: var(--wrong-soft); }
mark { background: var(--mark); color: inherit; font-weight: 600; padding: 0 .15em; border-radius: .2em; }
.failed { color: var(--wrong); text-decoration: underline wavy; text-underline-offset: .25em; }
.accepted { color: var(--right); text-decoration: underline; text-underline-offset: .25em; font-weight: 600; }
details { margin: .4rem 0; } summary { cursor: pointer; }
@media print { body { background: none; } .card { break-inside: avoid; } }
"""
