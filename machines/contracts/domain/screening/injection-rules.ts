/**
 * Ways in which a text tries to direct a model that only should read it. Each is bounded in what it may pass over, and is
 * tried only around one of its anchors. `weight`: 0.5 or more is flagged by itself, less only together with another.
 */
export interface InjectionRule {
  kind: string;
  weight: number;
  /** Lower case. */
  anchors: readonly string[];
  pattern: RegExp;
  /** Tried on the text as it stands: its letters are not Latin, or its lines count. */
  raw?: true;
}

const setAside =
  "ignor(?:e|ing|a|iere?n?)|disregard(?:ing)?|forget(?:ting)?|overrid(?:e|es|ing)|bypass(?:ing)?|discard(?:ing)?|neglect|skip|drop|abandon|set aside|stop following|(?:do not|don't|no longer) (?:follow|obey|comply with|adhere to)|(?:pay|give) no attention to|throw away|void|supersede[sd]?|replaces?";
const ofBefore =
  "previous(?:ly)?|prior|above|earlier|preceding|foregoing|former|past|original|initial|existing|current|system|developer|safety|all (?:of )?(?:the |your |these |those )?|any (?:of )?(?:the |your )?|your|my|whatever|other";
const instructions =
  "instructions?|prompts?|rules?|guidelines?|directions?|directives?|orders?|commands?|programming|training|constraints?|restrictions?|guardrails|polic(?:y|ies)|safeguards";

const secretThings =
  "(?:\\.env\\b|\\.ssh\\b|\\.aws\\b|\\/etc\\/passwd|\\b(?:api[ _-]?keys?|access keys?|passwords?|credentials?|secrets?|(?:access|auth|session|bearer) tokens?|private keys?|ssh keys?|id_rsa|environment variables|cookies?|(?:chat|conversation|message) history|(?:whole|entire|full|this) conversation|system prompt|inbox|e?-?mails?|contacts?|customer (?:data|list|records)|user(?:'s)? data|database|source code|bank (?:account|details)|card numbers?|balance))";

export const injectionRules: readonly InjectionRule[] = [
  {
    kind: "sets instructions aside",
    weight: 0.6,
    anchors: [
      ..."ignor disregard forget overrid bypass discard neglect skip drop abandon supersed".split(
        " ",
      ),
      "set aside",
      "stop following",
      "not follow",
      "n't follow",
      "longer follow",
      "not obey",
      "n't obey",
      "comply with",
      "adhere to",
      "no attention",
      "throw away",
      "replace",
    ],
    pattern: new RegExp(
      `\\b(?:${setAside})\\b[^.!?\\n]{0,30}?\\b(?:${ofBefore})\\b[^.!?\\n]{0,30}?\\b(?:(?:system |previous |initial |your )?(?:${instructions}))\\b`,
      "iu",
    ),
  },
  {
    kind: "sets instructions aside",
    weight: 0.5,
    anchors: [
      "ignor",
      "disregard",
      "forget",
      "bypass",
      "stop following",
      "suspended",
      "lifted",
      "disabled",
      "no longer apply",
      "not apply",
    ],
    pattern:
      /\b(?:ignore|disregard|forget|bypass|skip)\b[^.!?\n]{0,12}\b(?:(?:the )?user(?:'s|s')? (?:request|question|message|task|instructions?|wishes)|(?:the )?task description|(?:the )?job requirements|(?:your |the )?evaluation (?:rubric|criteria)|(?:its|your) (?:constitution|training|alignment|ethics|values|rubric)|(?:your|the|all|any) (?:content|safety) (?:filters?|checks?|rules))\b|\bstop following (?:the|your|any|all) (?:rules|instructions|guidelines|policies)|\b(?:your|safety|security|content|all)(?: \w{1,24}){0,2} (?:rules|guidelines|constraints|restrictions|checks|policies|filters|safeguards|limitations)(?: for \w{1,24}(?: \w{1,24})?)? (?:are|is|have been|has been|were) (?:now )?(?:suspended|lifted|disabled|removed|revoked|void|switched off|off)\b/iu,
  },
  {
    kind: "sets instructions aside",
    weight: 0.5,
    anchors: ["ignor", "disregard", "forget"],
    pattern:
      /\b(?:ignore|disregard|forget) (?:everything|all|anything|whatever)(?: (?:that|which))?(?: (?:i|you|we|they|was|were|is|has|have|had|been|just|said|told|written|came|comes|stands?|of|it)){0,5} (?:above|before|previously|earlier|so far|until now|up to (?:this point|now)|told|learned|said|know|taught)\b/iu,
  },
  {
    kind: "sets instructions aside",
    weight: 0.6,
    raw: true,
    anchors: [
      "ignor",
      "ignoriere",
      "vergiss",
      "missachte",
      "oubli",
      "olvid",
      "dimentic",
      "esque",
      "negeer",
      "vergeet",
      "zignoruj",
      "zapomnij",
      "talimat",
      "игнор",
      "забуд",
      "忽略",
      "忽視",
      "无视",
      "無視",
      "忘れ",
      "忘记",
      "무시",
      "잊",
      "تجاهل",
      "अनदेखा",
    ],
    pattern:
      /\b(?:ignorier\w{0,12}|vergiss|vergesse?n?|missachte\w{0,12})[^.!?\n]{0,40}(?:anweisung|instruktion|befehl|vorgabe|regel)|\b(?:ignor\w{1,24}|oubli\w{1,24})[^.!?\n]{0,30}(?:instructions|consignes|directives|règles)[^.!?\n]{0,20}(?:précédent|antérieur|ci-dessus|plus haut|données|système)|\b(?:ignor\w{1,24}|olvid\w{1,24})[^.!?\n]{0,30}(?:instrucciones|órdenes|indicaciones|reglas)|\b(?:ignor\w{1,24}|dimentic\w{1,24})[^.!?\n]{0,30}(?:istruzioni|regole|direttive)|\b(?:ignor\w{1,24}|esqueç\w{1,24})[^.!?\n]{0,30}(?:instruções|ordens|regras)|\b(?:negeer|vergeet)[^.!?\n]{0,30}(?:instructies|opdrachten|regels)|\b(?:zignoruj|zapomnij)[^.!?\n]{0,40}(?:instrukcj|polece)|talimat[^.!?\n]{0,30}(?:yok say|görmezden|unut)|(?:игнорир|проигнорир|забуд)[^.!?\n]{0,40}(?:инструкц|указан|правил|команд)|(?:忽略|忽視|无视|無視|忘记)[^。！？\n]{0,20}(?:指令|指示|说明|說明|提示|规则|規則)|(?:指示|命令|プロンプト|ルール)[^。！？\n]{0,10}(?:無視|忘れ)|(?:지시|명령|프롬프트|규칙)[^.!?\n]{0,15}(?:무시|잊)|تجاهل[^.!?\n]{0,30}(?:تعليمات|الأوامر)|निर्देश[^.!?\n]{0,30}अनदेखा/iu,
  },
  {
    kind: "poses as a system's message",
    weight: 0.5,
    raw: true,
    anchors: [
      "<|",
      "[inst]",
      "[/inst]",
      "<<sys",
      "<system",
      "[system",
      "<important",
      "<admin",
      "### ",
      "system:",
      "assistant:",
      "</",
      "---",
    ],
    pattern:
      /<\|(?:im_start|im_end|system|user|assistant|end_?of_?text|eot_id|start_header_id|begin_of_text|endoftext)\|>|\[\/?INST\]|<<\/?SYS>>|<\/?(?:system|important|admin|sys|system[-_](?:prompt|message|reminder|note|instruction)s?|override|secret[-_]instructions?)>|\[(?:system|admin|developer)(?: (?:message|override|note|notice|prompt|update|instruction|alert)s?)?\](?:\(#\w{1,24}\)|\s*:|\s+\w)|^\s{0,4}#{2,4} {0,2}(?:system|new|updated|hidden)(?: (?:instructions?|prompt|message|task))?\s{0,3}(?:#{1,4}|:)?[ \t]{0,8}$|(?:^|[>.\]])\s{0,4}(?:system|SYSTEM)\s{0,3}:\s{0,3}(?:you (?:are|must|will|should|can)|new |ignore|override|the (?:user|assistant)|from now|update|disregard|admin)|(?:^|\n)\s{0,4}assistant\s{0,3}:[^\n]{0,200}\n\s{0,4}(?:user|human)\s{0,3}:|<\/(?:external_content|tool_result|tool_response|function_results|document|documents|context|user_input|untrusted|data)>\s{0,8}(?:now|new|system|the user|please|assistant|ignore|you|instruction|<)|(?<!-)-{3,40} ?(?:end of|begin) (?:the )?(?:user|document|context|data|new|system|untrusted|email|conversation|real)[^-\n]{0,30}---/imu,
  },
  {
    kind: "announces new instructions",
    weight: 0.5,
    anchors: [
      "instruction",
      "new task",
      "new directive",
      "override",
      "objective",
      "priority",
      "task is",
    ],
    pattern:
      /\b(?:new|updated|revised|real|actual|true|additional|hidden|secret|special|important|urgent|following|mandatory)(?: (?:and|more|high[- ]priority|system|security|real|important|urgent|updated|secret))? (?:instructions?|directives?|orders?|objectives?|system prompt) (?:for|to) (?:you|the (?:ai|assistant|agent|model|llm|bot|chatbot))\b|\b(?:your|the) (?:new|real|actual|true|only|next|sole) (?:task|objective|goal|instructions?|job|purpose|mission)s? (?:is|are|now)\b|\bnew instructions?\s?:|\b(?:system|admin(?:istrator)?|security|developer|policy|safety|root) override\b|\b(?:begin|start of|end of) (?:new |system |hidden |previous |user )?instructions?\b|\binstead,? (?:you (?:must|should|will|are to)|please)\b|\bhigh(?:est)?[- ]priority (?:instruction|directive|message|system)|\binstructions? (?:below|here|in this (?:file|document|page|email|message|text|comment)) (?:take|have|supersede|override|replace)/iu,
  },
  {
    kind: "gives another role",
    weight: 0.5,
    anchors: [
      "you are now",
      "you're now",
      "you will now",
      "from now on",
      "from this point",
      "pretend",
      "act as",
      "role-play",
      "roleplay",
      "developer mode",
      "debug mode",
      "god mode",
      "maintenance mode",
      "do anything now",
      "jailbr",
      "unrestricted",
      "unfiltered",
      "no restrictions",
      "without any restrictions",
      "no longer bound",
      "imagine you",
      "simulate",
      "persona",
      "stay in character",
    ],
    pattern:
      /\byou(?: are|'re| will) now (?:be |become |act as |go by )?(?:an? |the |called |known as |in )?(?:dan\b|unrestricted|unfiltered|uncensored|evil|free|different|new|jailbroken|developer mode|debug mode|root|admin|opposite|[a-z]{1,20}gpt\b|\w{1,24} mode|hacker|pirate|no longer|operating|without)|\b(?:from now on|from this point(?: on| forward)?),? (?:you(?:'ll| will| are| must| should| can)?|answer|respond|reply|every|all|treat|always)\b|\b(?:pretend|imagine|act|role-?play|simulate)(?: (?:that|as if|like|as|to be|being))? (?:you(?:'re| are| have| were)?|an? |the )[^.!?]{0,60}(?:no (?:restrictions|rules|filters?|limits|guidelines|ethic|moral|content policy|safety)|without (?:any )?(?:restrictions|rules|filters?|limits|guidelines|ethic|moral|safety|censorship)|unrestricted|unfiltered|uncensored|jailbroken|evil|not bound|amoral|anything)|\b(?:enter|enable|activate|switch (?:in)?to|turn on|engage|start|in|now in) (?:the )?(?:developer|debug|god|admin|root|maintenance|unrestricted|jailbreak|dan|sudo|training|test) mode\b|\b(?:developer|debug|god|jailbreak|dan) mode (?:is |has been )?(?:on|enabled|activated|engaged|v\d)|\bdo anything now\b|\bno longer bound by\b|\bstay in character\b|\bfree(?:d)? (?:of|from) (?:all |any |your |openai's |the )?(?:restrictions|rules|filters|limitations|policies|guidelines)/iu,
  },
  {
    kind: "asks for its instructions",
    weight: 0.5,
    anchors: [
      "system prompt",
      "system message",
      "instructions",
      "prompt",
      "above",
      "rules",
      "guidelines",
      "developer message",
      "first message",
    ],
    pattern:
      /\b(?:reveal|show|print|repeat|output|display|tell|give|leak|dump|share|recite|disclose|expose|write (?:out|down)|type out|copy|summari[sz]e|paraphrase|translate|spell out|encode|return|state|list|what (?:is|are|was|were))\b[^.!?\n]{0,40}\b(?:your (?:\w{1,24} ){0,2}(?:prompts?|instructions?|guidelines|directives|rules|system message)|(?:the |its )?(?:hidden|secret|internal|initial|original|confidential) (?:\w{1,24} )?(?:prompts?|instructions?|guidelines|directives|rules)|rules (?:that )?(?:your|you) (?:\w{1,24} )?(?:creators?|developers?|makers?|were given|have been given)|(?:text|words|everything|message|conversation|paragraph) (?:that (?:is|was|are|came|come|preceded) )?(?:above|before this)(?: (?:this|line|message|verbatim|word|including)|[,.:]|$)|first message of (?:this|our) conversation)\b|\b(?:reveal|leak|dump|recite|disclose|expose|repeat|spell out)\b[^.!?\n]{0,30}\b(?:system|developer) (?:prompt|message|instructions?)\b|\b(?:tell|give) me (?:\w{1,24} ){0,2}(?:system|developer) (?:prompt|message)\b|\boutput everything above\b/iu,
  },
  {
    kind: "speaks of its instructions",
    weight: 0.3,
    anchors: ["system prompt", "developer message", "context window"],
    pattern:
      /\b(?:show|print|output|display|return|write|translate|encode|summari[sz]e|list|contents? of)\b[^.!?\n]{0,40}\b(?:system prompt|developer message|context window)\b/iu,
  },
  {
    kind: "asks to keep something from the user",
    weight: 0.5,
    anchors: [
      "tell",
      "inform",
      "mention",
      "reveal",
      "notify",
      "disclos",
      "alert",
      "without asking",
      "secret from",
      "hidden from",
      "confirm",
      "say nothing",
      "silently",
      "quietly",
      "show",
    ],
    pattern:
      /\b(?:do not|don't|never|must not|should not|avoid|without|refrain from)\b[^.!?\n]{0,20}\b(?:tell(?:ing)?|inform(?:ing)?|mention(?:ing)?|reveal(?:ing)?|notify(?:ing)?|disclos(?:e|ing)|alert(?:ing)?|show(?:ing)?|warn(?:ing)?|ask(?:ing)?|confirm(?:ing)?)\b[^.!?\n]{0,30}\b(?:the|your|this|to|with)? ?(?:user|human|operator|owner|victim|anyone|anybody|customer about this)\b|\b(?:keep|kept|hide|hidden|stay|remain) (?:this |it |that )?(?:a )?(?:secret|hidden|confidential|unnoticed|invisible|silent)? ?(?:from|to) the (?:user|human|operator|owner)\b|\bsay nothing (?:about|of) (?:this|it)\b|\b(?:silently|quietly|secretly|discreetly|covertly) (?:send|add|append|run|execute|forward|call|include|copy|delete|upload|post|read|fetch|transfer|change|disable|install|exfiltrate)\b/iu,
  },
  {
    kind: "asks to send secrets away",
    weight: 0.5,
    anchors: [
      "send",
      "post",
      "forward",
      "upload",
      "mail",
      "exfiltrat",
      "transmit",
      "append",
      "submit",
      "leak",
      "transfer",
      "share",
      "curl",
      "fetch",
      "embed",
      "include",
      "copy",
      "put",
    ],
    pattern: new RegExp(
      `\\b(?:send|post|forward|upload|e-?mail|exfiltrate|transmit|append|submit|leak|transfer|share|curl|fetch|embed|include|encode|copy|paste|put|add)\\b[^!?\\n]{0,80}${secretThings}[^!?\\n]{0,80}(?:\\b(?:to|at|via|into|in|as|with|on)\\b[^!?\\n]{0,40})?(?:https?:\\/\\/|[\\w.+-]{1,40}@[\\w-]{1,40}\\.|webhook|\\bquery (?:string|parameter)|\\burl parameter|\\bimage (?:url|link|tag)|!\\[|\\battacker|\\bthis (?:address|server|endpoint|number|url)\\b)|\\b(?:log ?in|sign in|enter|type|submit|retry)\\b[^!?\\n]{0,40}\\b(?:user's|users|his|her|their|saved) (?:saved )?(?:credentials|password)[^!?\\n]{0,40}https?:\\/\\/|https?:\\/\\/[^\\s]{1,80} and (?:enter|type|submit)[^!?\\n]{0,30}\\bpassword|\\b(?:send|post|forward|upload|submit|e-?mail)\\b[^!?\\n]{0,60}\\bto\\b[^!?\\n]{0,30}(?:https?:\\/\\/|[\\w.+-]{1,40}@[\\w-]{1,40}\\.)[^!?\\n]{0,120}${secretThings}`,
      "iu",
    ),
  },
  {
    kind: "speaks to a model",
    weight: 0.5,
    anchors: [
      " ai",
      "assistant",
      "llm",
      "language model",
      "chatbot",
      "gpt",
      "claude",
      "gemini",
      "copilot",
      "agents",
      "the agent",
      "agent:",
      "bots",
      "automated",
      "crawler",
      "reading this",
      "processing this",
      "reviewing this",
      "ai:",
      "ai,",
      "bot,",
      "model:",
    ],
    pattern:
      /\b(?:attention|important|note|notice|hey|hello|dear|message|instructions?|reminder|warning|memo|urgent|p\.?s\.?)[\s,:!-]{1,3}(?:(?:to|for|all|any|the|every|you|reading)[\s,:-]{1,2}){0,3}(?:ai|a\.i\.|assistants?|llms?|language models?|chatbots?|chatgpt|gpt(?:-?\d)?|claude|gemini|copilot|agents?|bots?|ai[- ](?:agents?|assistants?|models?|systems?|reviewers?|tools?))\b(?! (?:usage|use|safety|policy|strategy|tooling|integration|feature|access|support|security|model card))|\bif (?:you are|you're|this is(?: being)? (?:read|processed|summari[sz]ed|reviewed) by) (?:an?|any|the) (?:ai|llm|language model|large language model|assistant|chatbot|automated|agent|bot|ai[- ]\w{1,24})\b|\b(?:ai|llm)(?: (?:assistants?|agents?|models?|systems?|reviewers?|tools?|summari[sz]ers?))? (?:reading|processing|summari[sz]ing|reviewing|parsing|handling|evaluating|grading|that reads?|who reads?) this\b|\b(?:assistants?|agents?|models?|bots?|ais) (?:reading|processing|summari[sz]ing|reviewing|parsing) this\b|\b(?:as|since) (?:an? )?(?:ai|language model|ai (?:assistant|agent|model)),? (?:you|it is your)\b|\b(?:assistant|ai|agent|model|claude|chatgpt|gpt|copilot|bot)s?[,:] (?:please |you must |you should |you are to |now |immediately |do not |do this|first |ignore |disregard |forget |rate |approve |call |send |recommend |run |forward |instead )/iu,
  },
  {
    kind: "puts a task before the user's",
    weight: 0.5,
    anchors: [
      "before",
      "first",
      "prior to",
      "in order to",
      "prerequisite",
      "required step",
      "in addition",
      "also need",
      "when summari",
      "when asked",
      "whenever",
      "as soon as",
      "once you",
    ],
    pattern:
      /\bbefore (?:you (?:can )?(?:solve|continue|proceed|complete|do anything|go on|finish) |(?:answering|responding|replying|continuing|proceeding|completing|doing anything|anything else))[^.!?\n;]{0,60}\b(?:please|you (?:must|need|have to|should)|call|run|read|send|execute|do the following|forward|fetch|open|visit)\b|\bbefore you (?:answer|respond|reply)\b[^.!?\n;]{0,30}\b(?:you (?:must|need|have to|should)|call|run|read|send|execute|forward|fetch|open|visit)\b|\b(?:must|should|have to|need to) (?:first )?(?:run|call|read|send|execute|install|open|visit|fetch)\b[^.!?\n]{0,60}\bbefore (?:answering|responding|replying|doing anything|anything else)\b|\b(?:do|perform|execute|complete|carry out) (?:the following|this|these)(?: \w{1,24}){0,3} (?:first|before (?:any|answer|respond|continu|proceed))|\b(?:when|whenever|if|once|after) (?:you (?:are )?|the (?:ai|assistant|agent|model|user) (?:is )?|being )?(?:summari[sz](?:e|es|ed|ing)|asked|reading|read|process(?:ing)?|review(?:ing)?)\b[^.!?\n]{0,60}\b(?:you must|you should|always (?:say|reply|answer|recommend|include|mention|state|add)|instead (?:say|reply|answer|write|recommend|output)|also (?:send|call|forward|include|run))\b/iu,
  },
  {
    kind: "dictates an answer",
    weight: 0.5,
    anchors: [
      "pwned",
      "hacked",
      "hijacked",
      "rate this",
      "say only",
      "only say",
      "respond with",
      "reply with",
      "answer with",
      "output only",
      "print ",
      "respond only",
      "reply only",
      "must respond",
      "must reply",
      "must answer",
      "must say",
      "recommend",
      "always say",
      "start your",
      "begin your",
      "end your",
      "positive review",
      "approve",
    ],
    pattern:
      /\b(?:say|print|output|write|respond|reply|answer|state|repeat)\b[^.!?\n]{0,40}["'“‘]?\b(?:i (?:have been|was|am) )?(?:pwned|hacked|hijacked|owned|haha|compromised|jailbroken)\b|\b(?:you|the (?:ai|assistant|agent|model|reviewer)) (?:must|should|will|shall|are to|have to|need to) (?:only |always |then |now |instead |immediately )?(?:respond|reply|answer|say|output|print|state|write|conclude|recommend|rate|score|approve|classify|mark)\b[^.!?\n]{0,20}\b(?:with|only|that|as|this|by|["'“‘]|exactly|highly|the)|\b(?:respond|reply|answer|output) (?:only )?with (?:exactly |only |the (?:word|words|phrase|text|sentence|string) )["'“‘]?|\b(?:give|write|provide) (?:it |this |the \w{1,24} |only |a |an )?(?:the highest|a (?:glowing|positive|perfect|favou?rable)|positive|top) (?:score|rating|review|marks?|recommendation)\b|\b(?:start|begin|end) your (?:response|answer|reply|message|output) with\b/iu,
  },
  {
    kind: "asks to decode and obey",
    weight: 0.5,
    anchors: ["base64", "decode", "rot13", "hex", "cipher", "reverse"],
    pattern:
      /\b(?:decode|decrypt|decipher|unscramble|reverse|translate)\b[^.!?\n]{0,60}\b(?:and|then)\b[^.!?\n]{0,20}\b(?:follow|execute|obey|run|do|perform|act|comply|carry out|answer|respond)\b|\b(?:follow|execute|obey|run) (?:the |these |this )?(?:base64|rot13|hex|encoded|encrypted|decoded|reversed|hidden)\b/iu,
  },
  {
    kind: "asks to use a tool unasked",
    weight: 0.3,
    anchors: ["tool", "function", "command", "rm -rf", "curl ", "delete", "transfer", "wire"],
    pattern:
      /\b(?:immediately|now|please|first|must|should|also|then|instead|urgently) (?:\w{1,24} ){0,2}?(?:call|use|run|invoke|execute|trigger)\b[^.!?\n]{0,40}\b(?:tools?|functions?|commands?|script)\b|\b(?:run|execute)\b[^.!?\n]{0,20}(?:`{1,3})?(?:rm -rf|curl |wget |chmod 777|nc -e|bash -c|powershell)|\b(?:transfer|wire|send|pay)\b[^.!?\n]{0,20}(?:\$|€|£|\busd|\beur|\bbitcoin|\bbtc)\s?[\d,.]{2,}[^.!?\n]{0,30}\bto\b|\bdelete (?:all|every|the (?:entire|whole))\b[^.!?\n]{0,30}\b(?:files?|emails?|records|tables?|data|accounts?|users|messages|calendar|repositor(?:y|ies))\b/iu,
  },
];
