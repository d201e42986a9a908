/**
 * `--change` of `image import` and `commit`: Dockerfile instructions that alter an image's config. Pure. Comes in: the
 * instructions and the config so far. Goes out: the config's JSON. Source: docker import, docker commit; Dockerfile reference.
 */
import { refuse } from './values.ts';

/** The parts of an image config that instructions alter. Source: OCI image-spec, config.md, "config". */
export interface ImageConfigJson {
  readonly Cmd?: readonly string[] | null;
  readonly Entrypoint?: readonly string[] | null;
  readonly Env?: readonly string[] | null;
  readonly ExposedPorts?: Readonly<Record<string, object>> | null;
  readonly Labels?: Readonly<Record<string, string>> | null;
  readonly OnBuild?: readonly string[] | null;
  readonly StopSignal?: string;
  readonly User?: string;
  readonly Volumes?: Readonly<Record<string, object>> | null;
  readonly WorkingDir?: string;
  readonly [other: string]: unknown;
}

const FLAG = '--change';
const KNOWN = 'CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME and WORKDIR';

/** The config with every change made, in order. @throws ClusterError `invalid` naming the instruction */
export function changed(config: ImageConfigJson, changes: readonly string[]): ImageConfigJson {
  return changes.reduce(change, config);
}

function change(config: ImageConfigJson, line: string): ImageConfigJson {
  const [, word = '', rest = ''] = /^\s*(\S+)\s*([\s\S]*?)\s*$/.exec(line) ?? [];
  const need = (): string => (rest === '' ? refuse(FLAG, `"${line}" has no value`) : rest);
  switch (word.toUpperCase()) {
    case 'CMD':
      return { ...config, Cmd: command(need()) };
    case 'ENTRYPOINT':
      return { ...config, Entrypoint: command(need()) };
    case 'ENV':
      return { ...config, Env: [...withoutKeys(config.Env ?? [], pairs(need(), line)), ...texts(pairs(need(), line))] };
    case 'EXPOSE':
      return { ...config, ExposedPorts: { ...config.ExposedPorts, ...keys(words(need()).map(port)) } };
    case 'LABEL':
      return { ...config, Labels: { ...config.Labels, ...Object.fromEntries(pairs(need(), line)) } };
    case 'ONBUILD':
      return { ...config, OnBuild: [...(config.OnBuild ?? []), need()] };
    case 'STOPSIGNAL':
      return { ...config, StopSignal: need() };
    case 'USER':
      return { ...config, User: need() };
    case 'VOLUME':
      return { ...config, Volumes: { ...config.Volumes, ...keys(list(need()) ?? words(need())) } };
    case 'WORKDIR':
      return { ...config, WorkingDir: folder(config.WorkingDir ?? '', need()) };
    default:
      return refuse(FLAG, `"${word}" is no change that can be made`, `use ${KNOWN}`);
  }
}

/** The JSON form as it is, anything else for the shell. */
function command(text: string): readonly string[] {
  return list(text) ?? ['/bin/sh', '-c', text];
}

/** Undefined for what is no JSON list of texts. */
function list(text: string): readonly string[] | undefined {
  if (!text.startsWith('[')) return undefined;
  try {
    const found: unknown = JSON.parse(text);
    if (Array.isArray(found) && found.every((each) => typeof each === 'string')) return found;
  } catch {
    // As Docker: what looks like JSON and is none is a shell's line.
  }
  return undefined;
}

/** `KEY=value KEY="some value"`, or the old `KEY some value`. */
function pairs(text: string, line: string): readonly (readonly [string, string])[] {
  const parts = words(text);
  if (parts[0]?.includes('=') !== true) {
    const [, key = '', value = ''] = /^(\S+)\s+([\s\S]+)$/.exec(text) ?? [];
    if (key === '') refuse(FLAG, `"${line}" has no KEY=value`);
    return [[key, value]];
  }
  return parts.map((part) => {
    const equals = part.indexOf('=');
    if (equals < 1) refuse(FLAG, `"${part}" in "${line}" is no KEY=value`);
    return [part.slice(0, equals), part.slice(equals + 1)];
  });
}

/** Split at blanks; quotes hold together and go, a backslash keeps the next sign. */
function words(text: string): readonly string[] {
  const found: string[] = [];
  let word: string | undefined;
  let quote = '';
  for (let at = 0; at < text.length; at += 1) {
    const sign = text[at] as string;
    if (sign === '\\' && quote !== "'" && at + 1 < text.length) {
      at += 1;
      word = `${word ?? ''}${text[at]}`;
    } else if (quote !== '' ? sign === quote : sign === '"' || sign === "'") {
      quote = quote === '' ? sign : '';
      word ??= '';
    } else if (quote === '' && /\s/.test(sign)) {
      if (word !== undefined) found.push(word);
      word = undefined;
    } else word = `${word ?? ''}${sign}`;
  }
  if (quote !== '') refuse(FLAG, `"${text}" has a quote that is not closed`);
  return word === undefined ? found : [...found, word];
}

function port(text: string): string {
  if (/^\d{1,5}\/(tcp|udp)$/i.test(text)) return text.toLowerCase();
  return /^\d{1,5}$/.test(text) ? `${text}/tcp` : refuse(FLAG, `"${text}" is no port`, 'write it like 80 or 53/udp');
}

function folder(before: string, path: string): string {
  return path.startsWith('/') ? path : `${before === '' || before === '/' ? '' : before}/${path}`;
}

function keys(names: readonly string[]): Record<string, object> {
  return Object.fromEntries(names.map((name) => [name, {}]));
}

function texts(found: readonly (readonly [string, string])[]): readonly string[] {
  return found.map(([key, value]) => `${key}=${value}`);
}

function withoutKeys(env: readonly string[], found: readonly (readonly [string, string])[]): readonly string[] {
  const names = new Set(found.map(([key]) => key));
  return env.filter((each) => !names.has(each.split('=', 1)[0] ?? ''));
}
