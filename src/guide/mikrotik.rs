//! A script for RouterOS that reports the addresses of an interface when they change.

use super::target::Target;
use crate::model::Family;

pub(super) fn render(target: &Target) -> String {
    let finds: String = target.families.iter().map(find).collect();
    let mode = if target.url.tls { "https" } else { "http" };
    let check = if target.url.tls { " check-certificate=yes" } else { "" };
    let login = quoted(&target.login);
    let Target { host, url, .. } = target;
    format!(
        "# System > Scripts > Add New: name dyngate, policy read, write, test; source as follows. Then in a terminal:\n\
         #   /system scheduler add name=dyngate interval=5m on-event=dyngate\n\
         # ether1: the interface that has the public address. fetch is said to give up at an answer of 400 or more.\n\
         {}\
         :local wan \"ether1\"\n\
         :local list \"\"\n\
         :local found\n\
         :local entry\n\
         :global dyngateLast\n\
         {finds}\
         :if ($list != \"\" && $list != $dyngateLast) do={{\n    \
             :do {{\n        \
                 :local url (\"{url}/nic/update\\?hostname={host}&myip=\" . $list)\n        \
                 :local result [/tool fetch mode={mode}{check} url=$url user=\"{login}\" password=\"PASSWORD\" output=user as-value]\n        \
                 :local answer ($result->\"data\")\n        \
                 :log info \"dyngate: $answer\"\n        \
                 :if ($answer ~ \"^(good|nochg)\") do={{ :set dyngateLast $list }}\n    \
             }} on-error={{\n        \
                 :log warning \"dyngate: no answer, or a refusal; tried again at the next run\"\n    \
             }}\n\
         }}\n",
        if target.url.tls { "# check-certificate needs the authority's certificate in /certificate.\n" } else { "" },
    )
}

/// Appends the first address of the family to `list`, without its prefix length.
fn find(family: Family) -> String {
    let find = match family {
        Family::V4 => "/ip address find where interface=$wan",
        Family::V6 => "/ipv6 address find where interface=$wan global",
    };
    let menu = match family {
        Family::V4 => "/ip",
        Family::V6 => "/ipv6",
    };
    format!(
        ":set found [{find}]\n\
         :if ([:len $found] > 0) do={{\n    \
             :set entry [:tostr [{menu} address get [:pick $found 0] address]]\n    \
             :if ($list != \"\") do={{ :set list ($list . \",\") }}\n    \
             :set list ($list . [:pick $entry 0 [:find $entry \"/\"]])\n\
         }}\n"
    )
}

/// The inside of a string of RouterOS.
fn quoted(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$").replace('?', "\\?")
}
