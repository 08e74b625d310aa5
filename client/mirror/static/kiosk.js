// The mirror on a wall: full screen, rail and all; with ?kiosk in the address also from the start, the
// screen kept awake, and all as it was once nobody touches it any more.

const params = new URLSearchParams(location.search);

export const KIOSK = params.has("kiosk");
const IDLE = Math.max(5, Number(params.get("kiosk")) || 120) * 1000; // ms without a touch or a key

/**
 * Full screen on and off by `button`; on.idle() is called when a kiosk's visitor has gone. Answers what to
 * call where somebody is there who touches nothing.
 */
export function kiosk(button, on) {
  const root = document.documentElement;
  const look = () => {
    document.body.classList.toggle("kiosk", KIOSK || document.fullscreenElement !== null);
    button.setAttribute("aria-pressed", String(document.fullscreenElement !== null));
  };
  button.hidden = !document.fullscreenEnabled;
  button.addEventListener("click", () => {
    if (document.fullscreenElement) document.exitFullscreen();
    else root.requestFullscreen().catch(() => {}); // the button stays unpressed
  });
  document.addEventListener("fullscreenchange", look);
  look();
  if (!KIOSK) return () => {};

  const awake = () => document.visibilityState === "visible" && navigator.wakeLock?.request("screen").catch(() => {});
  document.addEventListener("visibilitychange", awake); // a hidden page loses it
  awake();
  let idle;
  const touched = () => {
    clearTimeout(idle);
    idle = setTimeout(on.idle, IDLE);
  };
  for (const name of ["pointerdown", "keydown", "wheel"]) addEventListener(name, touched, { passive: true });
  return touched;
}
