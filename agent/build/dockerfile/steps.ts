/**
 * What a Dockerfile says, in types: the steps as they are written, and the steps ready to be done, in which every variable
 * has its value. Steps come from parse.ts and become ready in expand.ts; whoever builds sees ready ones only.
 */
import type { HealthCheck } from '../../../common/model/service.ts';

/** Lines of the file, counted from 1, both included. */
export interface Span {
  readonly line: number;
  readonly endLine: number;
}

/** A command as the image keeps it: words, or a line for the shell of the stage. */
export type Command =
  | { readonly form: 'exec'; readonly argv: readonly string[] }
  | { readonly form: 'shell'; readonly line: string };

/** A document within the Dockerfile. */
export interface Heredoc {
  readonly name: string;
  /** With its last line's end. Leading tabs are gone where `<<-` asked for it. */
  readonly content: string;
  /** False when the name was quoted: variables in it stay as they are. */
  readonly expand: boolean;
}

/** Where the bytes of a COPY, or of a bind mount, come from. */
export type Source =
  | { readonly kind: 'context' }
  /** An earlier stage, by its index in the file. */
  | { readonly kind: 'stage'; readonly stage: number }
  /** An image's file system. */
  | { readonly kind: 'image'; readonly image: string }
  /** Nothing at all: `--mount=from=scratch`. */
  | { readonly kind: 'scratch' };

export type Network = 'default' | 'none' | 'host';

interface FileMount {
  /** Absolute, without `..`. */
  readonly target: string;
  readonly readOnly: boolean;
}

/** One `--mount` of a RUN, with its defaults. Nothing of a mount gets into the layer, its target neither if the RUN has not made it. */
export type Mount =
  | (FileMount & { readonly type: 'bind'; readonly from: Source; readonly source: string })
  | (FileMount & {
      readonly type: 'cache';
      /** Caches with one id are one. */
      readonly id: string;
      readonly sharing: 'shared' | 'private' | 'locked';
      /** What an empty cache begins with; absent = nothing. */
      readonly from?: Source;
      readonly source: string;
      readonly mode: number;
      readonly uid: number;
      readonly gid: number;
    })
  | { readonly type: 'tmpfs'; readonly target: string /** 0 = as much as memory allows. */; readonly sizeBytes: number }
  | {
      readonly type: 'secret';
      readonly id: string;
      /** Absent = only in the environment. */
      readonly target?: string;
      /** The variable that gets its value. */
      readonly env?: string;
      /** Without the secret the step fails. */
      readonly required: boolean;
      readonly mode: number;
      readonly uid: number;
      readonly gid: number;
    };

export interface RunStep {
  readonly kind: 'run';
  readonly command: Command;
  /** A program given by a heredoc that begins with `#!`: a file of mode 0755 at `/dev/pipes/NAME` while the step runs. */
  readonly script?: { readonly name: string; readonly content: string };
  readonly mounts: readonly Mount[];
  readonly network: Network;
  /** `NAME=value` of the ARGs in force, in order of declaration: part of the environment, the history's text and the cache key. */
  readonly args: readonly string[];
  /** `NAME=value` of proxies given as build arguments and not declared: part of the environment, and of nothing else. */
  readonly proxies: readonly string[];
}

/** Owner as it is written: `name|uid[:group|gid]`. Names are looked up in the stage's own /etc/passwd and /etc/group. */
export type Owner = string;

interface TransferStep {
  /** As written; patterns as of glob.ts. Never empty, unless there are documents. */
  readonly sources: readonly string[];
  /** Files whose content stands in the Dockerfile. */
  readonly documents: readonly { readonly name: string; readonly content: string }[];
  readonly dest: string;
  /** Absent = 0:0. */
  readonly chown?: Owner;
  /** Octal mode, or symbolic as chmod(1) takes it; absent = as the source has it. */
  readonly chmod?: Mode;
  /** The files form a layer of their own that does not look at what lies below it. */
  readonly link: boolean;
  /** Patterns of what is left out, by ignore.ts. */
  readonly exclude: readonly string[];
}

export type Mode =
  | { readonly kind: 'octal'; readonly mode: number }
  | { readonly kind: 'symbolic'; readonly text: string };

export interface CopyStep extends TransferStep {
  readonly kind: 'copy';
  readonly from: Source;
  /** The sources' parent folders are kept below the destination. */
  readonly parents: boolean;
}

export interface AddStep extends TransferStep {
  readonly kind: 'add';
  /** What is fetched: http and https. */
  readonly urls: readonly string[];
  /** `sha256:…` of the one URL. */
  readonly checksum?: string;
  /** Tars of the context are unpacked; undefined is Docker's rule: those of the context are, those fetched are not. */
  readonly unpack?: boolean;
}

/** Changes the image's config only; `apply.ts` knows how. */
export type ConfigStep =
  | { readonly kind: 'arg'; readonly args: readonly { readonly name: string; readonly value?: string }[] }
  | { readonly kind: 'env'; readonly pairs: readonly Pair[] }
  | { readonly kind: 'label'; readonly pairs: readonly Pair[] }
  | { readonly kind: 'user'; readonly user: string }
  | { readonly kind: 'expose' /** `80/tcp`, in the order written. */; readonly ports: readonly string[] }
  | { readonly kind: 'volume'; readonly paths: readonly string[] }
  | { readonly kind: 'cmd'; readonly command: Command }
  | { readonly kind: 'entrypoint'; readonly command: Command }
  | { readonly kind: 'healthcheck'; readonly check: BuildHealth }
  | { readonly kind: 'shell'; readonly argv: readonly string[] }
  | { readonly kind: 'stopsignal'; readonly signal: string }
  | { readonly kind: 'onbuild'; readonly trigger: string }
  | { readonly kind: 'maintainer'; readonly name: string };

export interface Pair {
  readonly name: string;
  readonly value: string;
}

/** What HEALTHCHECK says: no check at all, or a command; an absent time or number is the engine's default. */
export type BuildHealth =
  | { readonly kind: 'none' }
  | ({ readonly kind: 'command'; readonly command: Command } & Partial<Omit<HealthCheck, 'test'>>);

/** Makes the folder and says where the next steps stand. */
export interface WorkdirStep {
  readonly kind: 'workdir';
  /** As written after expansion: relative ones continue the folder before. */
  readonly path: string;
}

/** A step to be done. RUN, COPY, ADD and WORKDIR change files; the others the config alone. */
export type ReadyStep = (RunStep | CopyStep | AddStep | WorkdirStep | ConfigStep) & {
  readonly span: Span;
  /** One line that names the step to people: `RUN make all`. */
  readonly title: string;
};
