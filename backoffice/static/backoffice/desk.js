/* What the pages do beside being read: bring themselves up to date, open the menu on a small screen, fill in a reason.
   No framework, nothing inline; without it every page still works, by hand. */
"use strict";
{
    const main = document.getElementById("content-start");

    // --- Bringing <main data-refresh="10"> up to date -----------------------------------------------------------------
    const isBusy = () => {
        const focused = document.activeElement;
        const typing = focused && main.contains(focused) && focused.closest("form, details, summary");
        const selecting = String(window.getSelection()) !== "";
        const filled = [...main.querySelectorAll("form:not(.sign-in-as) :is(input, select, textarea)")].some(
            field => field.type === "radio" ? field.checked !== field.defaultChecked : field.value !== field.defaultValue && field.tagName !== "SELECT"
        );
        return document.hidden || typing || selecting || filled;
    };
    const bringUpToDate = async () => {
        if (isBusy()) { return; }
        let fresh;
        try {
            const answer = await fetch(window.location.href, { headers: { "X-Refresh": "1" }, redirect: "manual" });
            if (answer.type === "opaqueredirect") { window.location.reload(); return; }
            if (!answer.ok) { throw new Error(String(answer.status)); }
            fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
        } catch {
            const told = document.getElementById("freshness");
            if (told) { told.textContent = told.dataset.stale; told.classList.add("is-stale"); }
            return;
        }
        const next = fresh.getElementById("content-start");
        if (!next || isBusy()) { return; }
        const open = [...main.querySelectorAll("details")].map(part => part.open);
        const parts = next.querySelectorAll("details");
        if (parts.length === open.length) { parts.forEach((part, place) => { part.open = open[place]; }); }
        const messages = main.querySelector(".messagelist");
        if (messages && !next.querySelector(".messagelist")) { next.querySelector("#content").before(messages); }
        main.replaceChildren(...next.childNodes);
        if (next.dataset.refresh) { main.dataset.refresh = next.dataset.refresh; } else { delete main.dataset.refresh; }
        document.getElementById("nav-sidebar")?.replaceChildren(...fresh.getElementById("nav-sidebar").childNodes);
    };
    const later = () => {
        const seconds = Number(main?.dataset.refresh);
        if (seconds) { window.setTimeout(async () => { await bringUpToDate(); later(); }, seconds * 1000); }
    };
    later();

    // --- The menu on a small screen -----------------------------------------------------------------------------------
    const menu = document.getElementById("toggle-menu");
    menu?.addEventListener("click", () => {
        const isOpen = document.body.classList.toggle("menu-open");
        menu.setAttribute("aria-expanded", String(isOpen));
    });

    // --- Reasons that are often given: a button fills the field that it names --------------------------------------------
    document.addEventListener("click", event => {
        const preset = event.target.closest("button[data-fills]");
        const field = preset && document.getElementById(preset.dataset.fills);
        if (field) { field.value = preset.textContent.trim(); field.focus(); }
    });
}
