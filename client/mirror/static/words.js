// Every word of the page, in English and Chinese.

const WORDS = {
  en: {
    other: "中文",
    title: "Mirror",
    stage: "You",
    view: "You, as the mirror shows you",
    hello: "Try it on, live",
    how: "Stand so that your upper body is in view, then tap a garment.",
    camera: "Use the camera",
    photo: "Use a photo",
    privacy: "Pictures of you stay in memory: none is saved or logged.",
    tools: "Picture",
    compare: "Before and after",
    snapshot: "Save a snapshot",
    full: "Full screen",
    split: "Before and after: drag, or use the arrow keys",
    before: "Before",
    after: "After",
    rail: "Garments",
    nothing: "Your own",
    bring: "Bring one",
    sentence: "In words",
    sentence_hint: "make it red",
    speak: "Say it (your browser may send your voice to its maker)",
    listening: "Listening: say it in English …",
    speech_refused: "The browser was told not to give this page the microphone. Allow it in the address bar, or type the sentence.",
    speech_silent: "Nothing was heard. Press the microphone again, or type the sentence.",
    speech_failed: "The browser couldn't understand speech just now. Type the sentence instead.",
    category: "Worn as",
    upper: "Top",
    lower: "Bottom",
    dress: "Dress",
    drop_photo: "Drop a photo of yourself here",
    drop_garment: "Drop a picture of a garment here",
    snapshot_name: "mirror",
    stats: ({ fps, age, dropped, way }) => `${fps} fps · ${age} ms old · ${dropped} dropped · ${way}`,
    stats_photo: ({ age }) => `Photo · dressed in ${age} ms`,
    stats_idle: "Camera as it is: nothing is sent",
    dressing: "Dressing you …",
    bringing: "Hanging it up …",
    unreadable: "The browser can't read that as a picture. Choose a JPEG or PNG.",
    camera_refused: "The browser was told not to give this page the camera. Allow it in the address bar (the camera sign), then press “Use the camera”. Or use a photo.",
    camera_none: "No camera was found. Plug one in and press “Use the camera”, or use a photo.",
    camera_busy: "The camera is used by another program. Close that, then press “Use the camera”. Or use a photo.",
    camera_insecure: "Browsers give a page its camera only on localhost or over HTTPS. Open the mirror there, or use a photo.",
    camera_ended: "The camera is gone. Plug it in again and press “Use the camera”, or use a photo.",
    gone: "The mirror's own server is gone. Start it again with “make mirror”; this page goes on by itself.",
    refused: (text) => `That garment can't be worn: ${text}`,
    rail_gone: "The garments can't be loaded: is the mirror's server running? Start it with “make mirror”.",
    SERVER_UNAVAILABLE: "The try-on server doesn't answer. Start it with “make serve”; the mirror goes on by itself.",
    SERVER_NOT_READY: "The try-on server is starting. The mirror goes on by itself once it is ready.",
    DEADLINE_EXCEEDED: "The try-on server is too slow just now. The mirror keeps trying.",
    NO_PERSON_FOUND: "Nobody is in view. Step back until your head and upper body are seen, with some light on you.",
    SEVERAL_PEOPLE: "More than one person is in view. Let one of you step aside.",
    IMAGE_TOO_SMALL: "The picture is too small: each side needs 64 pixels.",
    IMAGE_TOO_LARGE: "The picture is too large: 16 MB and 150 megapixels at most.",
    NOT_AN_IMAGE: "That can't be read as a picture. Choose a JPEG or PNG.",
    PROMPT_TOO_LONG: "The sentence is too long: 512 characters at most.",
    NOTHING_TO_WEAR: "There is nothing to wear: tap a garment, or say one in words.",
    WARDROBE_AWAY: "The server's wardrobe can't be reached. You are dressed without it, more slowly.",
    GARMENT_GONE: "That garment no longer hangs here. Bring its picture again.",
    OTHER_SITE: "The mirror doesn't know this page's address. A proxy before it has to pass the Host header on.",
    MIRROR_FULL: "All places before the mirror are taken. It tries again by itself.",
  },
  zh: {
    other: "English",
    title: "魔镜",
    stage: "您",
    view: "镜中的您",
    hello: "实时试衣",
    how: "让上半身进入画面，然后点选一件衣服。",
    camera: "使用摄像头",
    photo: "使用照片",
    privacy: "您的影像只在内存中：不保存，也不记录。",
    tools: "画面",
    compare: "前后对比",
    snapshot: "保存快照",
    full: "全屏",
    split: "前后对比：拖动，或用方向键",
    before: "之前",
    after: "之后",
    rail: "衣服",
    nothing: "自己的",
    bring: "上传",
    sentence: "用一句话（请用英文）",
    sentence_hint: "make it red",
    speak: "说出来（浏览器可能把您的语音发送给其厂商）",
    listening: "正在听，请说英文……",
    speech_refused: "浏览器未允许此页面使用麦克风。请在地址栏允许，或直接输入。",
    speech_silent: "没有听到声音。请再点一次麦克风，或直接输入。",
    speech_failed: "浏览器暂时无法识别语音，请直接输入。",
    category: "当作",
    upper: "上装",
    lower: "下装",
    dress: "连衣裙",
    drop_photo: "把您的照片拖到这里",
    drop_garment: "把衣服的图片拖到这里",
    snapshot_name: "mirror",
    stats: ({ fps, age, dropped, way }) => `每秒 ${fps} 帧 · 延迟 ${age} 毫秒 · 丢弃 ${dropped} · ${way}`,
    stats_photo: ({ age }) => `照片 · ${age} 毫秒换好`,
    stats_idle: "摄像头原样画面：未发送任何内容",
    dressing: "正在换衣……",
    bringing: "正在挂上……",
    unreadable: "浏览器无法读取这张图片。请选择 JPEG 或 PNG。",
    camera_refused: "浏览器未允许此页面使用摄像头。请在地址栏的摄像头图标处允许，然后点“使用摄像头”；或使用照片。",
    camera_none: "没有找到摄像头。请接上后点“使用摄像头”，或使用照片。",
    camera_busy: "摄像头正被其他程序使用。请关闭它，然后点“使用摄像头”；或使用照片。",
    camera_insecure: "浏览器只在 localhost 或 HTTPS 下允许使用摄像头。请改用这样的地址，或使用照片。",
    camera_ended: "摄像头已断开。请重新接上后点“使用摄像头”，或使用照片。",
    gone: "魔镜的服务器已停止。请用“make mirror”重新启动，页面会自动恢复。",
    refused: (text) => `这件衣服无法试穿：${text}`,
    rail_gone: "无法载入衣服：魔镜的服务器在运行吗？请用“make mirror”启动。",
    SERVER_UNAVAILABLE: "试衣服务器没有应答。请用“make serve”启动，魔镜会自动继续。",
    SERVER_NOT_READY: "试衣服务器正在启动，就绪后魔镜会自动继续。",
    DEADLINE_EXCEEDED: "试衣服务器现在太慢，魔镜会继续尝试。",
    NO_PERSON_FOUND: "画面中没有人。请后退，让头部和上半身进入画面，并保证光线充足。",
    SEVERAL_PEOPLE: "画面中不止一个人。请只留一位。",
    IMAGE_TOO_SMALL: "图片太小：每边至少 64 像素。",
    IMAGE_TOO_LARGE: "图片太大：最多 16 MB、1.5 亿像素。",
    NOT_AN_IMAGE: "无法读取这张图片，请选择 JPEG 或 PNG。",
    PROMPT_TOO_LONG: "句子太长：最多 512 个字符。",
    NOTHING_TO_WEAR: "没有可穿的：请点选一件衣服，或用文字描述。",
    WARDROBE_AWAY: "暂时无法访问服务器的衣橱，试穿会慢一些。",
    GARMENT_GONE: "这件衣服已不在架上，请重新上传图片。",
    OTHER_SITE: "魔镜不认识此页面的地址。前面的代理必须原样转发 Host 头。",
    MIRROR_FULL: "魔镜前已满员，稍后会自动重试。",
  },
};

const KEPT = "mirror-language";

function kept() {
  try {
    return localStorage.getItem(KEPT);
  } catch {
    return null; // storage may be forbidden; the browser's language will do
  }
}

let language = kept() ?? ((navigator.language || "en").toLowerCase().startsWith("zh") ? "zh" : "en");
if (!(language in WORDS)) language = "en";

/** The words of `key`, or undefined; further arguments go to those that are made of values. */
export function say(key, ...values) {
  const words = WORDS[language][key];
  return typeof words === "function" ? words(...values) : words;
}

/** What to say of an error {code, text}: the page's own words, or the server's. */
export function sayError(error) {
  return (/^[A-Z_]+$/.test(error.code ?? "") && say(error.code)) || error.text;
}

/** Writes the words into everything that asks for some. */
export function translate() {
  document.documentElement.lang = language;
  document.title = say("title");
  for (const e of document.querySelectorAll("[data-say]")) e.textContent = say(e.dataset.say);
  for (const e of document.querySelectorAll("[data-say-label]")) {
    e.setAttribute("aria-label", say(e.dataset.sayLabel));
    if (e.tagName === "BUTTON") e.title = say(e.dataset.sayLabel);
  }
  for (const e of document.querySelectorAll("[data-say-placeholder]")) {
    e.placeholder = say(e.dataset.sayPlaceholder);
  }
}

/** The other language, kept for the next visit. */
export function switchLanguage() {
  language = language === "en" ? "zh" : "en";
  try {
    localStorage.setItem(KEPT, language);
  } catch {
    // not kept, then
  }
  translate();
}
