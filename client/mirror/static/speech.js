// A sentence by voice, where the browser can (SpeechRecognition). The try-on server reads English.

const Recognition = window.SpeechRecognition ?? window.webkitSpeechRecognition;

export const CAN_LISTEN = Boolean(Recognition);

/** Hears one sentence at a time; on.heard(text), on.error(code) and on.change() are called. */
export class Speech {
  #listening = null;

  constructor(on) {
    this.on = on;
  }

  get listening() {
    return this.#listening !== null;
  }

  /** Begins to listen, or ends it. */
  toggle() {
    if (this.#listening) return this.#listening.stop();
    const recognition = new Recognition();
    Object.assign(recognition, { lang: "en-US", interimResults: false, maxAlternatives: 1 });
    recognition.onresult = ({ results }) => this.on.heard(results[0][0].transcript.trim());
    recognition.onerror = ({ error }) => error !== "aborted" && this.on.error(error);
    recognition.onend = () => {
      this.#listening = null;
      this.on.change();
    };
    this.#listening = recognition;
    try {
      recognition.start();
    } catch {
      this.#listening = null;
      this.on.error("start");
    }
    this.on.change();
  }
}
