/** The names of things in etcd: `/<prefix>/<kind>/<id>`. Ids may hold slashes (`name/service/web`, `image/library/nginx:1`). */
import { ClusterError } from '../../common/errors.ts';
import { ALL_KINDS } from './cache.ts';
import type { Kind } from './store.ts';

/** Longer than any id of ours: an image reference has at most 255 characters plus its tag's 128. */
const ID_MAX = 512;

const KIND_SET: ReadonlySet<string> = new Set(ALL_KINDS);

export interface Key {
  readonly kind: Kind;
  readonly id: string;
}

/** The keys of one cluster, which may share its etcd with others. */
export class Keys {
  /** `/<prefix>/`: what all keys begin with. */
  readonly root: string;

  /** @throws ClusterError `invalid` for a prefix that is empty or holds anything but letters, digits, `-`, `_`, `.` */
  constructor(prefix: string) {
    if (!/^[A-Za-z0-9._-]{1,63}$/.test(prefix)) {
      throw new ClusterError('invalid', `etcd prefix "${prefix}" is no name`, {
        field: 'etcd-prefix',
        hint: 'use 1 to 63 letters, digits, "-", "_" or "."',
      });
    }
    this.root = `/${prefix}/`;
  }

  /** A key of no kind: its writing moves every view on and changes nothing in it. */
  get mark(): string {
    return `${this.root}mark`;
  }

  /** Where the object is. @throws ClusterError `internal` for an id that cannot be a key */
  of(kind: Kind, id: string): string {
    if (id === '' || id.length > ID_MAX) {
      throw new ClusterError('internal', `${kind} with an id of ${id.length} characters cannot be stored`);
    }
    return `${this.root}${kind}/${id}`;
  }

  /** The object a key is for; absent for a key that is none of ours, such as a kind of a newer version. */
  parse(key: string): Key | undefined {
    if (!key.startsWith(this.root)) return undefined;
    const slash = key.indexOf('/', this.root.length);
    if (slash < 0) return undefined;
    const kind = key.slice(this.root.length, slash);
    const id = key.slice(slash + 1);
    return KIND_SET.has(kind) && id !== '' ? { kind: kind as Kind, id } : undefined;
  }
}
