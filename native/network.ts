/** Links, routes, policy rules, nftables and tracked connections of this process' network namespace, IPv4. */

/** A container's routed link. Addresses without length; MACs with colons. */
export interface VethPlan {
  /** Of the host end, at most 15 characters. One of this name that is still there is deleted. */
  readonly name: string;
  /** Whose network namespace gets `eth0`. */
  readonly pid: number;
  readonly address: string;
  /** Known to the container as a permanent neighbour with `hostMac`; no host need own it. */
  readonly gateway: string;
  readonly mtu: number;
  readonly hostMac: string;
  readonly containerMac: string;
  /** Source of what the host itself sends to the container. */
  readonly hostAddress: string;
  /** Owner of the host's route. */
  readonly protocol: number;
  /** Bits a second from and to the container, all headers counted; null = no limit. */
  readonly egressBits: number | null;
  readonly ingressBits: number | null;
}

export interface Link {
  readonly index: number;
  readonly name: string;
  readonly mac: string | null;
  readonly mtu: number;
  readonly up: boolean;
  /** `ADDRESS/LENGTH` */
  readonly addresses: readonly string[];
}

/** With neither gateway nor device it leads nowhere: packets are refused with "unreachable". */
export interface Route {
  /** `ADDRESS/LENGTH` */
  readonly destination: string;
  /** null: on the link itself. */
  readonly gateway: string | null;
  readonly device: string | null;
  /** 254 = main. */
  readonly table: number;
  /** null: the kernel chooses. */
  readonly source: string | null;
}

/** `from SOURCE fwmark MARK lookup TABLE` */
export interface Rule {
  readonly priority: number;
  readonly source: string;
  readonly mark: number;
  readonly table: number;
}

/** A route that the kernel would not take. */
export interface RouteRefusal {
  /** Into `set`. */
  readonly index: number;
  /** Name of the errno. */
  readonly code: string;
  /** The kernel's sentence; may be empty. */
  readonly text: string;
}

export interface ConnectionFilter {
  readonly address: string;
  /** 6 = TCP, 17 = UDP, 0 = any. */
  readonly protocol: number;
  /** Port the client spoke to; 0 = any. */
  readonly published: number;
}

/** Routes and rules are told from other people's by their protocol number. Everything runs off the main thread. */
export interface NetworkAddon {
  /** Makes and furnishes both ends; nothing is left when it rejects. */
  attachVeth(plan: VethPlan): Promise<void>;
  /** False when there is none. Takes some 30 ms of the kernel's time. */
  deleteLink(name: string): Promise<boolean>;
  links(): Promise<readonly Link[]>;
  routes(protocol: number): Promise<readonly Route[]>;
  /** Adds or replaces, then removes; resolves with what of `set` was refused. */
  changeRoutes(protocol: number, set: readonly Route[], remove: readonly Route[]): Promise<readonly RouteRefusal[]>;
  rules(protocol: number): Promise<readonly Rule[]>;
  /** Adds, then removes. */
  changeRules(protocol: number, add: readonly Rule[], remove: readonly Rule[]): Promise<void>;
  /** One transaction in nft's language; resolves with the output, JSON if asked for. */
  runNft(script: string, json: boolean): Promise<string>;
  /** Number of the ruleset's last change by anybody. */
  nftGeneration(): Promise<number>;
  /** Open connections to the address; UDP counts when it has spoken within `udpRecentSeconds`. */
  countConnections(address: string, udpRecentSeconds: number): Promise<number>;
  /** Resolves with how many were forgotten. */
  forgetConnections(filter: ConnectionFilter): Promise<number>;
  /** The same for all that go to one of these addresses or come from it; one walk through the kernel's table for them all. */
  forgetAddresses(addresses: readonly string[]): Promise<number>;
  /** The same for all that go to or come from an address in `block` (CIDR) that is not among `kept`. */
  forgetBlock(block: string, kept: readonly string[]): Promise<number>;
}
