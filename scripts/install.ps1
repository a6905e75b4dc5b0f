<#
.SYNOPSIS
Installs headroom.sys from its package and loads it.

.DESCRIPTION
Checks that this start of Windows can load the driver, installs the package into the driver store, loads the driver and looks that it is attached. Safe to run
again, to repair or to put a newer package in place: a loaded driver is unloaded first, its settings are kept.

.EXAMPLE
.\install.ps1
.EXAMPLE
.\install.ps1 -DebugPrint
#>
#Requires -Version 5.1
[CmdletBinding()]
param(
    # The package's folder.
    [string] $Package = (Split-Path -Parent $PSScriptRoot),
    # Have the driver print a line per record for a kernel debugger (DebugPrint = 1).
    [switch] $DebugPrint,
    # Install, and do not load: `fltmc load headroom` does that.
    [switch] $NoLoad
)

$ErrorActionPreference = 'Stop'
Set-StrictMode -Version 2.0
Import-Module (Join-Path $PSScriptRoot 'Headroom.psm1') -Force

Assert-Machine
# The oldest Windows that has everything the driver calls (10, version 2004); an INF cannot ask for it.
$build = [Environment]::OSVersion.Version.Build
if ($build -lt 19041) {
    throw "This is build $build of Windows, and the driver needs 19041 (Windows 10, version 2004) or later."
}
$Package = Resolve-Package $Package

# What would keep it from loading, before anything is changed.
foreach ($file in 'headroom.sys', 'headroom.cat') {
    $signature = Get-AuthenticodeSignature -LiteralPath (Join-Path $Package $file)
    if ($signature.Status -ne 'Valid') {
        throw "The signature of $file is '$($signature.Status)' here: $($signature.StatusMessage) prepare-vm.ps1 trusts the package's certificate; if it ran, the file is damaged: unpack the zip again."
    }
    $signer = $signature.SignerCertificate
    if ($signer.Subject -eq $signer.Issuer -and -not (Test-TestSigning)) {
        throw "$file is test-signed ($($signer.Subject)), and this start of Windows does not accept that: run prepare-vm.ps1 and restart."
    }
}

Write-Host "Installing from $($Package):"
try {
    Stop-Filter
    Write-Step 'install headroom.inf'
    $restart = Install-Inf (Join-Path $Package 'headroom.inf')
    if (-not (Test-Path -LiteralPath $ServiceKey)) {
        throw "The installation reported success, and there is no $ServiceKey. Details: $env:SystemRoot\INF\setupapi.dev.log"
    }
    if ($DebugPrint) {
        Write-Step 'set DebugPrint to 1'
        $parameters = Join-Path $ServiceKey 'Parameters'
        if (-not (Test-Path -LiteralPath $parameters)) { New-Item -Path $parameters | Out-Null }
        Set-ItemProperty -LiteralPath $parameters -Name DebugPrint -Value 1 -Type DWord
    }
    if ($restart) {
        Write-Host 'Windows wants a restart to put the new files in place; after it: fltmc load headroom'
        return
    }
    if (-not $NoLoad) {
        Write-Step 'load the driver (fltmc load)'
        Invoke-Tool fltmc.exe @('load', $Service) | Out-Null
        Write-Host
        Write-Host (Invoke-Tool fltmc.exe @('instances', '-f', $Service))
    }
}
catch {
    Write-Host 'Not finished. What was done is sound as it is: run this again to go on, or uninstall.ps1 to go back.'
    throw
}
Write-Host
Write-Host 'Installed. See: headroom.exe status, headroom.exe watch. In a debugger: !headroom (debugger\headroom.js).'
