// What a validation program printed: its checks, its verdict, and what another runtime does better.

/** Every check in its order; `key` is its name and how often that name came before. */
export function checksOf(text) {
  const seen = new Map();
  return [...text.matchAll(/^(not )?ok \d*[ -]*(.*)$/gm)].map(([, not, name]) => {
    const before = seen.get(name) ?? 0;
    seen.set(name, before + 1);
    return { name, key: `${name}#${before}`, isOk: not === undefined };
  });
}

/** A program is clean without a failed check; those that print no check say nothing but an error. */
export function judged(text, status) {
  const checks = checksOf(text);
  const failed = checks.filter(({ isOk }) => !isOk).length;
  const hasSaid = checks.length > 0 || !text.includes('"error":');
  return { passed: checks.length - failed, failed, isClean: status === 0 && failed === 0 && hasSaid };
}

/** The text without the checks that passed and what was said of them. */
export function failuresOf(text) {
  return text.replaceAll(/^ok .*\n(?:[ #].*\n)*/gm, '').replaceAll(/^(TAP version|1\.\.).*\n/gm, '');
}

/** The names of the checks that fail in `ours` and pass in `theirs`. */
export function worseThan(ours, theirs) {
  const passing = new Set(
    checksOf(theirs)
      .filter(({ isOk }) => isOk)
      .map(({ key }) => key),
  );
  return checksOf(ours)
    .filter(({ key, isOk }) => !isOk && passing.has(key))
    .map(({ name }) => name);
}
