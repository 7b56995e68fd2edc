/** One variable of git's configuration; its value is null where the file gives none. */
export type ConfigEntry = readonly [key: string, value: string | null];

/** Configuration that makes git run a command or reach out of the repository, and what closes it. */
const closed: readonly ConfigEntry[] = [
  ["core.hooksPath", "/dev/null"],
  ["core.fsmonitor", "false"],
  ["core.pager", "cat"],
  ["core.editor", "false"],
  ["core.askPass", "false"],
  ["core.sshCommand", "false"],
  ["core.attributesFile", "/dev/null"],
  ["core.excludesFile", "/dev/null"],
  ["core.quotePath", "false"],
  ["commit.gpgSign", "false"],
  ["gpg.program", "false"],
  ["log.showSignature", "false"],
  // What the repository has is shown, and history as the commits tell it.
  ["log.showRoot", "true"],
  ["core.commitGraph", "false"],
  ["core.ignoreStat", "false"],
  ["core.untrackedCache", "false"],
  ["diff.orderFile", "/dev/null"],
  ["i18n.commitEncoding", "UTF-8"],
  ["submodule.recurse", "false"],
  ["diff.ignoreSubmodules", "all"],
  ["protocol.allow", "never"],
  ["core.alternateRefsCommand", "false"],
  ["core.gitProxy", "false"],
  ["credential.helper", ""],
  ["gc.auto", "0"],
  ["maintenance.auto", "false"],
  // Where this repository is pushed to.
  ["receive.autogc", "false"],
  ["receive.denyCurrentBranch", "refuse"],
  ["receive.denyDeletes", "true"],
  ["receive.denyNonFastForwards", "true"],
  ["receive.shallowUpdate", "false"],
  ["receive.advertisePushOptions", "false"],
];

/**
 * What a repository's own configuration must not decide, to be laid over it. Filters and configured hooks
 * bear names of the repository's choosing, so they are found in `config` and closed one by one.
 *
 * @param onFilter - `refuse`: a file that wants a filter is an error, as storing it unfiltered would be wrong;
 * `skip`: it is compared as it stands
 */
export function guards(config: readonly ConfigEntry[], onFilter: "refuse" | "skip"): ConfigEntry[] {
  const laidOver = new Map<string, string>();
  for (const [key] of config) {
    const filter = /^(filter\..*\.)(?:clean|smudge|process|required)$/s.exec(key)?.[1];
    if (filter !== undefined) {
      for (const name of ["clean", "smudge", "process"]) laidOver.set(filter + name, "");
      laidOver.set(`${filter}required`, String(onFilter === "refuse"));
    }
    // From git 2.54 on.
    const hook = /^(hook\..*\.)[^.]*$/s.exec(key)?.[1];
    if (hook !== undefined) {
      laidOver.set(`${hook}enabled`, "false");
      laidOver.set(`${hook}command`, "false");
    }
  }
  return [...closed, ...laidOver];
}

/**
 * The entries as environment variables. Not as `-c name=value`: that splits at the first `=`, which a
 * subsection may contain, and a filter named `a=b` would stay open.
 */
export function configEnvironment(entries: readonly ConfigEntry[]): Record<string, string> {
  const env: Record<string, string> = { GIT_CONFIG_COUNT: String(entries.length) };
  for (const [index, [key, value]] of entries.entries()) {
    env[`GIT_CONFIG_KEY_${index}`] = key;
    env[`GIT_CONFIG_VALUE_${index}`] = value ?? "";
  }
  return env;
}
