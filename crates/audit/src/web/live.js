// What the server found last: asked for while it scans and when there is something new, shown by `draw`.
const live = { status: {}, shown: 0, timer: 0 };
function start(url, take, said, draw) {
  function show() {
    const { status } = live;
    const when = status.lastRefresh ? `Scanned ${new Date(status.lastRefresh * 1000).toLocaleString()}.` : "Not scanned yet.";
    $("about").textContent = [said(), status.refreshing ? "Scanning now …" : when].filter(Boolean).join(" ");
    $("refresh").disabled = !!status.refreshing;
    $("error").hidden = !status.error; $("error").textContent = status.error ? `The last scan did not go well: ${status.error}` : "";
    if (live.shown) draw();
    else $("list").replaceChildren(el("div", { class: "empty" }, status.refreshing ? "The first scan goes on." : "Nothing has been scanned."));
  }
  async function load() {
    clearTimeout(live.timer);
    try {
      const status = await (await fetch("/api/refreshing_status")).json();
      const changed = JSON.stringify(status) !== JSON.stringify(live.status);
      live.status = status;
      if (status.lastRefresh && status.lastRefresh !== live.shown) {
        const answer = await fetch(url);
        if (answer.status === 200) { take(await answer.json()); live.shown = status.lastRefresh; }
      }
      if (changed) show();
    } catch (error) { live.status = { ...live.status, error: "the server does not answer" }; show(); }
    live.timer = setTimeout(load, live.status.refreshing ? 1000 : 15000);
  }
  $("refresh").onclick = async () => { await fetch("/api/refresh", { method: "POST" }); live.status.refreshing = true; show(); live.timer = setTimeout(load, 500); };
  load();
}
