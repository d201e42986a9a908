/**
 * Which proxy a request goes through, by the variables that curl and Docker read. undici's own reader of them is marked
 * experimental and says so on every start, and it knows no address ranges.
 * Source: golang.org/x/net/http/httpproxy.
 */
import { BlockList, isIP } from 'node:net';

export interface ProxySettings {
  /** For https URLs; empty: none. */
  readonly https: string;
  readonly http: string;
  /** HOST[:PORT], .DOMAIN, address ranges or `*`, separated by commas. */
  readonly except: string;
}

/** Names in lower case win, as with curl. */
export function proxySettings(env: Readonly<Record<string, string | undefined>>): ProxySettings {
  const read = (name: string): string => env[name.toLowerCase()] || env[name] || '';
  return { https: read('HTTPS_PROXY'), http: read('HTTP_PROXY'), except: read('NO_PROXY') };
}

/** The proxy's URL; undefined: straight there. */
export function proxyFor(url: URL, { https, http, except }: ProxySettings): string | undefined {
  const proxy = url.protocol === 'https:' ? https : http;
  if (proxy === '' || except.split(',').some((rule) => covers(rule.trim().toLowerCase(), url))) return undefined;
  return proxy.includes('://') ? proxy : `http://${proxy}`;
}

function covers(rule: string, url: URL): boolean {
  if (rule === '' || rule === '*') return rule === '*';
  const host = url.hostname.toLowerCase().replace(/^\[|\]$/g, '');
  if (rule.includes('/')) return isInRange(host, rule);
  const [, name = rule, port] = /^(.*?)(?::(\d+))?$/.exec(rule) ?? [];
  if (isIP(rule) === 6) return host === rule;
  if (port !== undefined && port !== portOf(url)) return false;
  const bare = name.replace(/^\*?\./, '');
  if (bare === '') return false;
  return host.endsWith(`.${bare}`) || (host === bare && !name.startsWith('.') && !name.startsWith('*.'));
}

function portOf(url: URL): string {
  return url.port || (url.protocol === 'https:' ? '443' : '80');
}

function isInRange(host: string, range: string): boolean {
  const [network = '', bits = ''] = range.split('/');
  const family = isIP(network);
  const isRange = family !== 0 && /^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128);
  if (!isRange || isIP(host) !== family) return false;
  const list = new BlockList();
  const type = family === 4 ? 'ipv4' : 'ipv6';
  list.addSubnet(network, Number(bits), type);
  return list.check(host, type);
}
